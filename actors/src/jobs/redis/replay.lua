-- ARGV: id, now, events_max. Answers 1 when it was a dead letter.
local id, now = ARGV[1], ARGV[2]
local k = key(id)
local f = redis.call('HMGET', k, 'dead', 'lane', 'owner')
if not f[1] then return 0 end
undead(k, id, f[2])
redis.call('ZREM', base .. ':expiring', id)
redis.call('HDEL', k, 'err', 'iserr', 'started', 'finished', 'expires')
redis.call('HSET', k, 'att', 0, 'cancel', 0, 'wf', now)
redis.call('HINCRBY', k, 'grip', 1)
redis.call('HINCRBY', base .. ':active', f[3], 1)
redis.call('HINCRBY', base .. ':active', '', 1)
again(k, id, f[2], 'replayed', now, now, ARGV[3])
redis.call('PUBLISH', base .. ':wake', f[2])
return 1
