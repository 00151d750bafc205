-- Redis runs this script for the breaker. It carries out a process's operations, and returns results and all states.
--
-- KEYS: the hash of all states. ARGV: the operations as JSON, each a verb, a state's name and the verb's arguments.
--
-- A state has: f failures in a row, a the account that met the first, m 1 if another account has met one, or a check of ours (-1), u until when
-- it is out, c its cooldown (0: a rate limit or none), r 1 if it is out for its rate of failures, p until when it is
-- probed, w by which process, t when it last changed. All times are in milliseconds, by Redis's own clock. A state is
-- deleted an hour after it last changed and its time is over; one account's own, after ten minutes.

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local states, raw = {}, redis.call('HGETALL', KEYS[1])
for i = 1, #raw, 2 do
  local s = cjson.decode(raw[i + 1])
  local kept = string.sub(raw[i], 1, 1) == '@' and 600000 or 3600000
  if math.max(s.u, s.t) + kept < now or (s.c == 0 and s.f == 0 and s.u <= now) then
    redis.call('HDEL', KEYS[1], raw[i])
  else states[raw[i]] = s end
end
local function save(name, s)
  s.t = now
  states[name] = s
  redis.call('HSET', KEYS[1], name, cjson.encode(s))
  redis.call('PEXPIRE', KEYS[1], 7200000)
end
local results = {}
for i, op in ipairs(cjson.decode(ARGV[1])) do
  local verb, name = op[1], op[2]
  local s, result = states[name], 0
  if verb == 'fail' then
    s = s or {f = 0, u = 0, c = 0, p = 0, w = ''}
    if s.f == 0 then s.a, s.m = op[3], 0
    elseif s.a ~= op[3] then s.m = 1 end
    if op[3] == -1 then s.m = 1 end
    s.f = s.f + 1
    save(name, s)
    result = s.m == 1 and s.f or -s.f
  elseif verb == 'open' then
    local ends, cooldown = now + op[4], op[5]
    if s and s.u > now then
      if cooldown == 0 and ends > s.u then s.u = ends; save(name, s) end
    else
      save(name, {f = 0, u = ends, c = cooldown, r = op[6], p = 0, w = ''})
      result = 1
    end
  elseif verb == 'close' then
    if s then
      if s.u > 0 then result = 1 end
      redis.call('HDEL', KEYS[1], name)
      states[name] = nil
    end
  elseif verb == 'probe' then
    if not s or s.p <= now then
      result = 1
      if s then s.p = now + op[4]; s.w = op[3]; save(name, s) end
    end
  elseif verb == 'give' and s and s.w == op[3] then
    s.p = 0
    save(name, s)
  end
  results[i] = result
end
local found = {}
for name, s in pairs(states) do
  found[#found + 1] = {name, s.f, math.max(0, s.u - now), s.c, math.max(0, s.p - now), s.r or 0, s.a or 0, s.m or 0}
end
return {results, found}
