-- ARGV: now. Answers for each lane: queued, running, dead, age of the oldest that could run.
local now = tonumber(ARGV[1])
local answers = {}
for _, lane in ipairs(LANES) do
  local length = redis.call('XLEN', stream(lane))
  local held, last = 0, '0-0'
  local groups = redis.pcall('XINFO', 'GROUPS', stream(lane))
  if type(groups) == 'table' and not groups.err and groups[1] then
    for i = 1, #groups[1], 2 do
      if groups[1][i] == 'pending' then held = groups[1][i + 1] end
      if groups[1][i] == 'last-delivered-id' then last = groups[1][i + 1] end
    end
  end
  local oldest = now
  local first = redis.call('XRANGE', stream(lane), '(' .. last, '+', 'COUNT', 1)
  if first[1] then
    local run_at = redis.call('HGET', key(first[1][2][2]), 'run_at')
    if run_at then oldest = math.min(oldest, tonumber(run_at)) end
  end
  local waiting = redis.call('ZRANGE', due(lane), 0, 0, 'WITHSCORES')
  if waiting[2] then oldest = math.min(oldest, tonumber(waiting[2])) end
  answers[#answers + 1] = math.max(0, length - held) + redis.call('ZCARD', due(lane))
  answers[#answers + 1] = held
  answers[#answers + 1] = tonumber(redis.call('HGET', base .. ':deadcount', lane) or 0)
  answers[#answers + 1] = now - oldest
end
return answers
