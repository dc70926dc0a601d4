-- Removes the body of one entry.
local epoch, offset = tonumber(ARGV[1]), tonumber(ARGV[2])

local s = state()
if s.epoch == 0 or epoch ~= s.epoch or offset <= s.trimmed or s.head < offset then return 0 end
local kept = entry(offset)
if not kept or REDACTED <= kept.kind then return 0 end
redis.call('HSET', room, 'redactions', text(s.redactions + 1), 'e' .. text(offset),
  struct.pack(HEADER, kept.at, kept.print, kept.kind + REDACTED, #kept.author, #kept.key, #kept.name, 0)
    .. kept.author .. kept.key .. kept.name)
return 1
