-- Stands before the scripts of resumable streams: what they share. ARGV begins with the prefix of all names.
--
-- A stream is a Redis stream: its entry 0-1 is the head, 0-2 has the headers, and a block of events has its last event's
-- number for an id. The entry FENCE ends a stream that did not end itself; nothing can be added behind it.

local FENCE = 10000000000
local prefix = ARGV[1]
local sizes, expiries = prefix .. 'resume:sizes', prefix .. 'resume:expiries'
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)

local function key_of(id) return prefix .. 'resume:' .. id end
local function owner_key(owner) return prefix .. 'resume-owner:' .. owner end
local function note_owner(owner, lease_ms) redis.call('SET', owner_key(owner), '1', 'PX', lease_ms) end
local function last_of(key) return redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)[1] end
local function number_of(entry) return tonumber(string.match(entry[1], '^%d+')) end

local function add(field, bytes)
  if redis.call('HINCRBY', sizes, field, bytes) <= 0 then redis.call('HDEL', sizes, field) end
end
local function live_on(member, key, live_ms)
  redis.call('ZADD', expiries, now_ms + live_ms, member)
  redis.call('PEXPIRE', key, live_ms)
end
local function grow(id, account, bytes)
  add(account .. ':' .. id, bytes)
  add(account, bytes)
  add('all', bytes)
end
local function forget(member)
  local bytes = tonumber(redis.call('HGET', sizes, member)) or 0
  redis.call('HDEL', sizes, member)
  redis.call('ZREM', expiries, member)
  add(string.match(member, '^[^:]+'), -bytes)
  add('all', -bytes)
end
local function what_is_full(account, bytes, most, most_of_account)
  local used = redis.call('HMGET', sizes, account, 'all')
  if (tonumber(used[1]) or 0) + bytes > most_of_account then return 'account' end
  if (tonumber(used[2]) or 0) + bytes > most then return 'all' end
  return ''
end
local function soonest_ms(account)
  local found = redis.call('ZRANGE', expiries, 0, 999, 'WITHSCORES')
  for i = 1, #found, 2 do
    if account == '' or string.match(found[i], '^[^:]+') == account then
      return math.max(1000, found[i + 1] - now_ms)
    end
  end
  return 1000
end
for _, member in ipairs(redis.call('ZRANGEBYSCORE', expiries, '-inf', now_ms, 'LIMIT', 0, 100)) do forget(member) end
redis.call('PEXPIRE', sizes, 86400000)
redis.call('PEXPIRE', expiries, 86400000)
