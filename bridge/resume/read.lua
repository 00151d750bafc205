-- Reads what is kept behind an event. Behind the prefix ARGV has: how long a stream lives that has ended, in ms, and the
-- most blocks; then id, event and owner of each. For each it returns the blocks, or how it stands with the stream. One
-- whose owner lives no longer is ended here, by whoever looks first.

local kept_ms, most_blocks = tonumber(ARGV[2]), ARGV[3]
local function close(key, last)
  redis.call('XADD', key, FENCE .. '-0', 'f', last + 1, 'd', '', 'e', 'lost')
  redis.call('PEXPIRE', key, kept_ms)
end
local answers = {}
for i = 4, #ARGV, 3 do
  local key, after, owner = key_of(ARGV[i]), tonumber(ARGV[i + 1]), ARGV[i + 2]
  local found = redis.call('XRANGE', key, string.format('%d-0', after + 1), '+', 'COUNT', most_blocks)
  if #found == 0 then
    local last = last_of(key)
    if not last then found = 'gone'
    elseif last[2][5] == 'e' and last[2][6] ~= '' then found = 'ended'
    elseif redis.call('EXISTS', owner_key(owner)) == 0 then
      close(key, number_of(last))
      found = 'running'
    else found = 'running' end
  end
  answers[#answers + 1] = found
end
return answers
