-- Trims, at once for every reader; answers how many entries are still to be taken out.
local epoch, upto, keys_ms = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])

local s = state()
if s.epoch ~= 0 and epoch == s.epoch and upto <= s.head and s.trimmed < upto then trim(s, upto) end
sweep(s, 500)
forget(s, now() - keys_ms, 500)
return s.trimmed - s.swept
