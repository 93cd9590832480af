-- ARGV: set of ids (all, or an owner's), score ('' = any, else ticks up to it), limit. Answers next, last,
-- body, payload of each.
local ids
if ARGV[2] == '' then ids = redis.call('ZRANGE', ARGV[1], 0, -1)
else ids = redis.call('ZRANGEBYSCORE', ARGV[1], '-inf', ARGV[2], 'LIMIT', 0, ARGV[3]) end
local found = {}
for _, id in ipairs(ids) do
  local f = redis.call('HMGET', base .. ':schedule:' .. id, 'next', 'last', 'body', 'pay')
  if f[3] then found[#found + 1] = f end
end
return found
