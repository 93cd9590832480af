-- ARGV: id, grip, entry, body. Answers 1 when written, 0 when the job is not running under this grip.
local f = redis.call('HMGET', key(ARGV[1]), 'st', 'grip')
if f[1] ~= 'running' or f[2] ~= ARGV[2] then return 0 end
redis.call('HSET', base .. ':journal:' .. ARGV[1], ARGV[3], ARGV[4])
return 1
