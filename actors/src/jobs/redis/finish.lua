-- ARGV: now, events_max, dead_ttl, then nine of each job: id, grip, state, kind, run_at, fault (JSON, '' =
-- none, '-' = as it was), flags ('e' tool error, 'u' attempt undone), dead reason, result. Answers 1 when
-- it is (or was) so, 0 for the lost.
local now, events_max, dead_ttl = ARGV[1], ARGV[2], ARGV[3]
local answers = {}
for i = 4, #ARGV, 9 do
  local id, state, kind, fault, flags = ARGV[i], ARGV[i + 2], ARGV[i + 3], ARGV[i + 5], ARGV[i + 6]
  local k = key(id)
  local f = redis.call('HMGET', k, 'st', 'grip', 'lane')
  local answer = 1
  if not f[1] or f[2] ~= ARGV[i + 1] then
    answer = 0
  elseif f[1] == 'claimed' or f[1] == 'running' then
    leave(k, id, f[3])
    redis.call('HDEL', k, 'lease')
    if fault == '' then redis.call('HDEL', k, 'err')
    elseif fault ~= '-' then redis.call('HSET', k, 'err', fault) end
    if string.find(flags, 'e', 1, true) then redis.call('HSET', k, 'iserr', 1) end
    if string.find(flags, 'u', 1, true) and tonumber(redis.call('HGET', k, 'att')) > 0 then
      redis.call('HINCRBY', k, 'att', -1)
    end
    if ARGV[i + 8] ~= '' then redis.call('HSET', k, 'res', ARGV[i + 8]) end
    if state == 'queued' then
      again(k, id, f[3], kind, ARGV[i + 4], now, events_max)
    else
      over(k, id, state, ARGV[i + 7], now, events_max, dead_ttl)
    end
  end
  answers[#answers + 1] = answer
end
return answers
