-- Begins to keep streams. Behind the prefix ARGV has: how long a stream lives in ms, the owner, its lease in ms, the most
-- bytes of all and of an account, the bytes of a head; then the id, account and head of each. For each it returns 0, or
-- what is full: 'account' or 'all', and when there may be room again, in ms.

local live_ms, owner, lease_ms = tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local most, most_of_account, bytes = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local answers = {}
note_owner(owner, lease_ms)
for i = 8, #ARGV, 3 do
  local id, account = ARGV[i], ARGV[i + 1]
  local full = what_is_full(account, bytes, most, most_of_account)
  if full ~= '' then
    answers[#answers + 1] = {full, soonest_ms(full == 'account' and account or '')}
  else
    redis.call('XADD', key_of(id), '0-1', 'h', ARGV[i + 2])
    grow(id, account, bytes)
    live_on(account .. ':' .. id, key_of(id), live_ms)
    answers[#answers + 1] = 0
  end
end
return answers
