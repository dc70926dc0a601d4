-- Gives the room another epoch, if it still has the one that was seen.
local from, to = tonumber(ARGV[1]), tonumber(ARGV[2])

local s = state()
if s.epoch ~= 0 and s.epoch == from then
  s.epoch = to
  redis.call('HSET', room, 'epoch', text(to))
end
return bounds(s)
