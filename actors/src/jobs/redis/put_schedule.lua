-- ARGV: id, owner, enabled, next_at, last_at, body, payload, caller_max, total_max. Answers 'ok',
-- 'caller_full' or 'full'.
local id, owner = ARGV[1], ARGV[2]
local all, own = base .. ':schedules', base .. ':schedules:' .. owner
local known = redis.call('ZSCORE', all, id)
local of_owner, of_all = redis.call('ZCARD', own), redis.call('ZCARD', all)
if known then of_owner, of_all = of_owner - 1, of_all - 1 end
if of_owner >= tonumber(ARGV[8]) then return 'caller_full' end
if of_all >= tonumber(ARGV[9]) then return 'full' end
redis.call('HSET', base .. ':schedule:' .. id, 'owner', owner, 'on', ARGV[3], 'next', ARGV[4],
  'last', ARGV[5], 'body', ARGV[6], 'pay', ARGV[7])
redis.call('ZADD', all, 0, id)
redis.call('ZADD', own, 0, id)
if ARGV[3] == '1' then redis.call('ZADD', base .. ':ticks', ARGV[4], id)
else redis.call('ZREM', base .. ':ticks', id) end
return 'ok'
