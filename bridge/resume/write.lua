-- Keeps blocks. Behind the prefix ARGV has: the owner, its lease in ms, how long a stream lives that runs and one that has
-- ended, in ms, the most bytes of all and of an account; then of each block the id, account, first and last event, the
-- sealed events, the ending, the headers, and its bytes. It returns what became of each, and behind them the requests
-- that someone wants to be ended.

local owner, lease_ms, running_ms, kept_ms = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local most, most_of_account = tonumber(ARGV[6]), tonumber(ARGV[7])

local function keep(id, account, first, last, data, ending, headers, bytes)
  local key, member = key_of(id), account .. ':' .. id
  if redis.call('EXISTS', key) == 0 then return 'gone' end
  if headers ~= '' then redis.pcall('XADD', key, '0-2', 'h', headers) end
  local place = last .. '-' .. (data == '' and 9 or 0)
  if ending ~= '' and ending ~= 'complete' then place = FENCE .. '-0'
  elseif data ~= '' and what_is_full(account, bytes, most, most_of_account) ~= '' then
    data, ending, place, last = '', 'full', FENCE .. '-0', first - 1
  end
  local added = redis.pcall('XADD', key, place, 'f', first, 'd', data, 'e', ending)
  if type(added) == 'table' and added.err then
    local there = last_of(key)[1]
    return there == place and 'kept' or number_of({there}) >= FENCE and 'closed' or 'kept'
  end
  if data ~= '' then grow(id, account, bytes) end
  live_on(member, key, ending == '' and running_ms or kept_ms)
  return ending == 'full' and 'full' or 'kept'
end

note_owner(owner, lease_ms)
local answers = {}
for i = 8, #ARGV, 8 do
  answers[#answers + 1] = keep(unpack(ARGV, i, i + 7))
end
local asked = prefix .. 'resume-cancel:' .. owner
local cancelled = redis.call('LRANGE', asked, 0, -1)
if #cancelled > 0 then redis.call('DEL', asked) end
return {answers, cancelled}
