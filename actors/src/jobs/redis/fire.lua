-- ARGV: schedule, tick, next, '1' with a job, then the job as enqueue takes it. Answers 'fired', 'not', or
-- why the job was refused. The comparison with the tick is the lock: of many nodes one moves it on.
local k = base .. ':schedule:' .. ARGV[1]
local f = redis.call('HMGET', k, 'next', 'on')
if f[1] ~= ARGV[2] or f[2] ~= '1' then return 'not' end
if ARGV[4] == '1' then
  local job = {}
  for i = 5, #ARGV do job[#job + 1] = ARGV[i] end
  local made = enqueue(job)
  if made[1] ~= 'new' then return made[1] end
  redis.call('HSET', k, 'last', ARGV[2])
end
redis.call('HSET', k, 'next', ARGV[3])
redis.call('ZADD', base .. ':ticks', ARGV[3], ARGV[1])
return 'fired'
