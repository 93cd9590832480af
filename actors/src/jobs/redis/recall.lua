-- ARGV: before, now, run_at at most (of what waits for another attempt), lease_until at most. The wall clock was
-- set back; answers how many jobs were changed.
local before, now, again_at, lease_until = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local changed = 0

local function lower(k, field, bound)
  local value = redis.call('HGET', k, field)
  if not value or tonumber(value) <= tonumber(bound) then return false end
  redis.call('HSET', k, field, bound)
  return true
end

-- The time it has waited from goes back with the time it waits for.
local function sooner(k)
  local f = redis.call('HMGET', k, 'run_at', 'wf', 'evn')
  if not f[1] or tonumber(f[1]) <= tonumber(now) then return end
  local touched = false
  if tonumber(f[1]) <= tonumber(before) then
    touched = lower(k, 'run_at', now)
  elseif tonumber(f[3]) > 1 then
    touched = lower(k, 'run_at', again_at)
  end
  if tonumber(f[2]) <= tonumber(before) and lower(k, 'wf', now) then touched = true end
  if touched then changed = changed + 1 end
end

-- What is in the stream needs no time to come; only its times are shown. What is held has a lease.
local function listed(entry)
  local k = key(entry[2][2])
  local f = redis.call('HMGET', k, 'st', 'sid')
  if f[2] ~= entry[1] then return end
  if f[1] == 'queued' then
    sooner(k)
  elseif (f[1] == 'claimed' or f[1] == 'running') and lower(k, 'lease', lease_until) then
    changed = changed + 1
  end
end

for _, lane in ipairs(LANES) do
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', due(lane), '(' .. now, '+inf')) do
    sooner(key(id))
    redis.call('ZADD', due(lane), 'XX', redis.call('HGET', key(id), 'run_at') or now, id)
  end
  local from = '-'
  repeat
    local entries = redis.call('XRANGE', stream(lane), from, '+', 'COUNT', 512)
    for _, entry in ipairs(entries) do listed(entry) end
    if #entries > 0 then from = '(' .. entries[#entries][1] end
  until #entries < 512
end
return changed
