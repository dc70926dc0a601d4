-- The bounds, and behind them the entries after an offset: at most so many, and so many bytes, but one at least.
local after, entries_max, bytes_max = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
-- What an entry counts for beside its texts, and what an attachment has in front of it, in bytes.
local FIXED, LENGTH = 256, 4

local s = state()
local answer = bounds(s)
if after < s.trimmed then return answer end
local bytes = 0
for offset = after + 1, math.min(after + entries_max, s.head) do
  local packed = redis.call('HGET', room, 'e' .. text(offset))
  if not packed then return redis.error_reply('DAMAGED an entry of the room is missing') end
  bytes = bytes + FIXED + #packed - HEADER_BYTES - LENGTH * struct.unpack('>I2', packed, HEADER_BYTES - 1)
  if bytes_max < bytes and after + 1 < offset then break end
  answer[#answer + 1] = packed
end
return answer
