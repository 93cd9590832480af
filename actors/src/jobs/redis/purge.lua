-- ARGV: now, limit. Answers how many were forgotten.
local ids = redis.call('ZRANGEBYSCORE', base .. ':expiring', '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
for _, id in ipairs(ids) do
  local k = key(id)
  local f = redis.call('HMGET', k, 'owner', 'dk', 'lane')
  if f[1] then
    undead(k, id, f[3])
    redis.call('ZREM', base .. ':own:' .. f[1], id)
    if f[2] and f[2] ~= '' then redis.call('DEL', f[2]) end
  end
  redis.call('DEL', k, base .. ':journal:' .. id)
  redis.call('ZREM', base .. ':all', id)
  redis.call('ZREM', base .. ':expiring', id)
end
return #ids
