-- ARGV: now, limit, idle_ms, events_max, dead_ttl, retry_ms, fault of an unknown outcome, fault of a
-- crash. Takes what nobody has touched for long from its consumer and judges it by its lease.
local now, limit, idle = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local events_max, dead_ttl, retry_ms = ARGV[4], ARGV[5], tonumber(ARGV[6])
local reaped = {}

local function lose(id)
  local k = key(id)
  local f = redis.call('HMGET', k, 'st', 'lease', 'lane', 'idem', 'cancel', 'att', 'max')
  local held = f[1] == 'claimed' or f[1] == 'running'
  if not held or not f[2] or tonumber(f[2]) > tonumber(now) then return end
  local lane = f[3]
  redis.call('HINCRBY', k, 'grip', 1)
  redis.call('HDEL', k, 'lease')
  leave(k, id, lane)
  if f[1] == 'claimed' then
    again(k, id, lane, 'returned', now, now, events_max)
  elseif f[4] ~= '1' then
    redis.call('HSET', k, 'err', ARGV[7])
    over(k, id, 'outcome_unknown', 'outcome_unknown', now, events_max, dead_ttl)
  elseif f[5] == '1' then
    over(k, id, 'cancelled', '', now, events_max, dead_ttl)
  else
    redis.call('HSET', k, 'err', ARGV[8])
    if tonumber(f[6]) >= tonumber(f[7]) then
      over(k, id, 'failed', 'attempts_exhausted', now, events_max, dead_ttl)
    else
      local at = string.format('%.0f', tonumber(now) + retry_ms)
      again(k, id, lane, 'retry', at, now, events_max)
    end
  end
  reaped[#reaped + 1] = id
end

for _, lane in ipairs(LANES) do
  local cursor, rounds = '0-0', 0
  repeat
    local got = redis.pcall('XAUTOCLAIM', stream(lane), GROUP, 'reaper', idle, cursor, 'COUNT', 100)
    if type(got) ~= 'table' or got.err then break end
    cursor, rounds = got[1], rounds + 1
    for _, entry in ipairs(got[2]) do
      if #reaped < limit and entry and entry[2] then lose(entry[2][2]) end
    end
  until cursor == '0-0' or rounds >= 20 or #reaped >= limit
end
return reaped
