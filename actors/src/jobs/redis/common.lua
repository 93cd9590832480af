-- What every script shares. KEYS[1] is the base of all names, with the hash tag that keeps them in one
-- slot. The rules here are those of transition.rs; the contract suite holds the two together.
local base = KEYS[1]
local LANES = {'interactive', 'normal', 'low'}
local GROUP = 'workers'

local function key(id) return base .. ':job:' .. id end
local function stream(lane) return base .. ':lane:' .. lane end
local function due(lane) return base .. ':due:' .. lane end

local function note(k, kind, now, events_max)
  local number = redis.call('HINCRBY', k, 'evn', 1)
  local attempt = redis.call('HGET', k, 'att')
  local text = number .. ' ' .. now .. ' ' .. kind .. ' ' .. attempt
  redis.call('HSET', k, 'ev:' .. (number % tonumber(events_max)), text)
end

-- Into the stream when its time has come, beside it until then.
local function wait(k, id, lane, run_at, now)
  if tonumber(run_at) <= tonumber(now) then
    redis.call('HSET', k, 'sid', redis.call('XADD', stream(lane), '*', 'id', id))
  else
    redis.call('HDEL', k, 'sid')
    redis.call('ZADD', due(lane), run_at, id)
  end
end

-- Out of the stream or the waiting set, wherever it is.
local function leave(k, id, lane)
  local sid = redis.call('HGET', k, 'sid')
  if sid then
    pcall(redis.call, 'XACK', stream(lane), GROUP, sid)
    redis.call('XDEL', stream(lane), sid)
    redis.call('HDEL', k, 'sid')
  end
  redis.call('ZREM', due(lane), id)
end

local function again(k, id, lane, kind, run_at, now, events_max)
  redis.call('HSET', k, 'st', 'queued', 'run_at', run_at)
  wait(k, id, lane, run_at, now)
  note(k, kind, now, events_max)
end

local function over(k, id, state, dead, now, events_max, dead_ttl)
  local f = redis.call('HMGET', k, 'lane', 'owner', 'ttl')
  local keep = f[3]
  if dead ~= '' then
    keep = dead_ttl
    redis.call('HSET', k, 'dead', dead)
    redis.call('ZADD', base .. ':dead', 0, id)
    redis.call('HINCRBY', base .. ':deadcount', f[1], 1)
  else
    redis.call('HDEL', k, 'pay')
  end
  local expires = string.format('%.0f', tonumber(now) + tonumber(keep))
  redis.call('HSET', k, 'st', state, 'finished', now, 'expires', expires)
  redis.call('ZADD', base .. ':expiring', expires, id)
  if redis.call('HINCRBY', base .. ':active', f[2], -1) <= 0 then
    redis.call('HDEL', base .. ':active', f[2])
  end
  redis.call('HINCRBY', base .. ':active', '', -1)
  note(k, state, now, events_max)
end

local function undead(k, id, lane)
  redis.call('HDEL', k, 'dead')
  if redis.call('ZREM', base .. ':dead', id) == 1 then
    redis.call('HINCRBY', base .. ':deadcount', lane, -1)
  end
end

-- a: id, owner, lane, run_at, now, idempotent, max_attempts, ttl, spec, payload, dedupe key, fingerprint,
-- caller_max, total_max, events_max
local function enqueue(a)
  local id, owner, lane, run_at, now = a[1], a[2], a[3], a[4], a[5]
  local k = key(id)
  if redis.call('EXISTS', k) == 1 then return {'new', id} end
  local dk = ''
  if a[11] ~= '' then
    dk = base .. ':key:' .. #owner .. ':' .. owner .. ':' .. a[11]
    local known = redis.call('HMGET', dk, 'id', 'fp')
    if known[1] then
      if known[2] == a[12] then return {'known', known[1]} end
      return {'conflict', ''}
    end
  end
  local active = redis.call('HMGET', base .. ':active', owner, '')
  if tonumber(active[1] or 0) >= tonumber(a[13]) then return {'caller_full', ''} end
  if tonumber(active[2] or 0) >= tonumber(a[14]) then return {'full', ''} end
  redis.call('HSET', k, 'st', 'queued', 'lane', lane, 'owner', owner, 'att', 0, 'grip', 0,
    'run_at', run_at, 'wf', run_at, 'cancel', 0, 'idem', a[6], 'max', a[7], 'ttl', a[8],
    'spec', a[9], 'pay', a[10], 'dk', dk)
  if dk ~= '' then redis.call('HSET', dk, 'id', id, 'fp', a[12]) end
  redis.call('HINCRBY', base .. ':active', owner, 1)
  redis.call('HINCRBY', base .. ':active', '', 1)
  redis.call('ZADD', base .. ':all', 0, id)
  redis.call('ZADD', base .. ':own:' .. owner, 0, id)
  wait(k, id, lane, run_at, now)
  note(k, 'queued', now, a[15])
  redis.call('PUBLISH', base .. ':wake', lane)
  return {'new', id}
end
