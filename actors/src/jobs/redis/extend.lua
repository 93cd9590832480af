-- ARGV: lease_until, worker, then id and grip of each job. Answers 1 held, 2 to be cancelled, 0 lost.
local answers = {}
for i = 3, #ARGV, 2 do
  local k = key(ARGV[i])
  local f = redis.call('HMGET', k, 'st', 'grip', 'cancel', 'lane', 'sid')
  local answer = 0
  if f[1] and f[2] == ARGV[i + 1] and (f[1] == 'claimed' or f[1] == 'running') then
    redis.call('HSET', k, 'lease', ARGV[1])
    if f[5] then redis.call('XCLAIM', stream(f[4]), GROUP, ARGV[2], 0, f[5], 'JUSTID') end
    answer = f[3] == '1' and 2 or 1
  end
  answers[#answers + 1] = answer
end
return answers
