-- ARGV: id, now. Answers 1 when it was a dead letter.
local id = ARGV[1]
local k = key(id)
local f = redis.call('HMGET', k, 'dead', 'lane', 'ttl')
if not f[1] then return 0 end
undead(k, id, f[2])
redis.call('HDEL', k, 'pay')
local expires = string.format('%.0f', tonumber(ARGV[2]) + tonumber(f[3]))
redis.call('HSET', k, 'expires', expires)
redis.call('ZADD', base .. ':expiring', expires, id)
return 1
