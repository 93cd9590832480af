-- ARGV: id, owner ('' = anybody's), now, events_max, dead_ttl. Answers 'none', 'cancelled', 'requested',
-- or the state it had ended in.
local id, owner, now, events_max = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local k = key(id)
local f = redis.call('HMGET', k, 'st', 'owner', 'lane', 'cancel')
if not f[1] or (owner ~= '' and owner ~= f[2]) then return 'none' end
if f[1] == 'queued' or f[1] == 'claimed' then
  redis.call('HINCRBY', k, 'grip', 1)
  redis.call('HDEL', k, 'lease')
  leave(k, id, f[3])
  over(k, id, 'cancelled', '', now, events_max, ARGV[5])
  return 'cancelled now'
end
if f[1] == 'running' then
  if f[4] ~= '1' then
    redis.call('HSET', k, 'cancel', 1)
    note(k, 'cancel_requested', now, events_max)
  end
  redis.call('PUBLISH', base .. ':cancel', id)
  return 'requested'
end
return f[1]
