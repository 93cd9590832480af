-- ARGV: id. Answers 1 when there was one.
local k = base .. ':schedule:' .. ARGV[1]
local owner = redis.call('HGET', k, 'owner')
if not owner then return 0 end
redis.call('DEL', k)
redis.call('ZREM', base .. ':schedules', ARGV[1])
redis.call('ZREM', base .. ':schedules:' .. owner, ARGV[1])
redis.call('ZREM', base .. ':ticks', ARGV[1])
return 1
