-- ARGV: worker, now, lease_until, share per lane (3). Answers the next due time and the jobs.
local worker, now, lease_until = ARGV[1], ARGV[2], ARGV[3]

local function read(lane, count)
  local ask = {'XREADGROUP', 'GROUP', GROUP, worker, 'COUNT', count, 'STREAMS', stream(lane), '>'}
  local got = redis.pcall(unpack(ask))
  if type(got) == 'table' and got.err then
    redis.call('XGROUP', 'CREATE', stream(lane), GROUP, '0', 'MKSTREAM')
    got = redis.call(unpack(ask))
  end
  return got and got[1] and got[1][2] or {}
end

local found = {}
local function take(lane, count)
  while count > 0 do
    local entries = read(lane, count)
    if #entries == 0 then return end
    for _, entry in ipairs(entries) do
      local sid, id = entry[1], entry[2][2]
      local k = key(id)
      local f = redis.call('HMGET', k, 'st', 'sid')
      if f[1] == 'queued' and f[2] == sid then
        redis.call('HINCRBY', k, 'grip', 1)
        redis.call('HSET', k, 'st', 'claimed', 'lease', lease_until)
        found[#found + 1] =
          redis.call('HMGET', k, 'spec', 'pay', 'grip', 'att', 'run_at', 'err', 'wf')
        count = count - 1
      else
        redis.call('XACK', stream(lane), GROUP, sid)
        redis.call('XDEL', stream(lane), sid)
      end
    end
  end
end

local wanted, next_due = 0, ''
for i, lane in ipairs(LANES) do
  wanted = wanted + tonumber(ARGV[3 + i])
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', due(lane), '-inf', now, 'LIMIT', 0, 512)) do
    redis.call('ZREM', due(lane), id)
    wait(key(id), id, lane, now, now)
  end
end
for i, lane in ipairs(LANES) do take(lane, tonumber(ARGV[3 + i])) end
for _, lane in ipairs(LANES) do take(lane, wanted - #found) end
for _, lane in ipairs(LANES) do
  local first = redis.call('ZRANGE', due(lane), 0, 0, 'WITHSCORES')
  if first[2] and (next_due == '' or tonumber(first[2]) < tonumber(next_due)) then
    next_due = first[2]
  end
end
return {next_due, found}
