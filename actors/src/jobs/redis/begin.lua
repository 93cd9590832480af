-- ARGV: now, events_max, then id and grip of each job. Answers the attempt of each, 0 for the lost.
local answers = {}
for i = 3, #ARGV, 2 do
  local k = key(ARGV[i])
  local f = redis.call('HMGET', k, 'st', 'grip', 'att')
  local attempt = 0
  if f[1] and f[2] == ARGV[i + 1] then
    if f[1] == 'running' then
      attempt = tonumber(f[3])
    elseif f[1] == 'claimed' then
      attempt = redis.call('HINCRBY', k, 'att', 1)
      redis.call('HSET', k, 'st', 'running', 'started', ARGV[1])
      note(k, 'running', ARGV[1], ARGV[2])
    end
  end
  answers[#answers + 1] = attempt
end
return answers
