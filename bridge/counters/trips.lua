-- Redis runs this script for the counters: all trips of a batch at once.
--
-- ARGV: the trips as JSON, each [asks, gives, leases to renew]; the prefix of all names in them; and how long a renewed
-- lease lives, in milliseconds. It returns the counts of each trip's asks, as JSON too. The clock is Redis's own.

local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local minute, elapsed = math.floor(now_ms / 60000), now_ms % 60000
local function window(name)
  local held = redis.call('HMGET', name, 'm', 'c', 'p')
  local m, c, p = tonumber(held[1]), tonumber(held[2]) or 0, tonumber(held[3]) or 0
  if m == minute then return c, p end
  if m == minute - 1 then return 0, c end
  return 0, 0
end
local function store(name, c, p)
  redis.call('HSET', name, 'm', minute, 'c', c, 'p', p)
  redis.call('PEXPIRE', name, 120000)
end
local prefix, lease_ms = ARGV[2], tonumber(ARGV[3])
local function lease(name, id, life_ms)
  redis.call('ZADD', name, now_ms + life_ms, id)
  redis.call('PEXPIRE', name, life_ms + 1000)
end
local answers = {}
for i, request in ipairs(cjson.decode(ARGV[1])) do
  local asks, gives, counts, all = request[1], request[2], {}, true
  for _, g in ipairs(gives) do
    g[1] = prefix .. g[1]
    if g[3] ~= '' then redis.call('ZREM', g[1], g[3])
    else
      local c, p = window(g[1])
      if g[2] > 0 or g[4] == minute then c = math.max(0, c + g[2])
      elseif g[4] == minute - 1 then p = math.max(0, p + g[2]) end
      store(g[1], c, p)
    end
  end
  for _, r in ipairs(request[3]) do lease(prefix .. r[1], r[2], lease_ms) end
  for j, a in ipairs(asks) do
    local count
    a[1] = prefix .. a[1]
    if a[4] then
      redis.call('ZREMRANGEBYSCORE', a[1], '-inf', now_ms)
      local running = redis.call('ZCARD', a[1])
      count = {running < a[2], 0, running, 0}
      if running >= a[2] and running > 0 then count = {false, 0, running, 0, 0, redis.call('ZRANGE', a[1], 0, 31)} end
    else
      local c, p = window(a[1])
      count = {a[3] == 0 or p * (60000 - elapsed) + (c + a[3]) * 60000 <= a[2] * 60000, p, c, elapsed, minute}
    end
    all = all and count[1]
    counts[j] = count
  end
  if all then
    for j, a in ipairs(asks) do
      if a[4] then lease(a[1], a[5], a[7] and lease_ms or math.floor(a[6] * 1000))
      elseif a[3] ~= 0 then store(a[1], counts[j][3] + a[3], counts[j][2]) end
    end
  end
  answers[i] = counts
end
if #answers == 0 then return '[]' end
return cjson.encode(answers)
