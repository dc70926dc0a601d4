-- Moves a reader's position, never back within an epoch.
local field, epoch, offset = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

local known = redis.call('HGET', room, field)
if known then
  local known_epoch, known_offset = struct.unpack('>I6I7', known)
  if known_epoch == epoch and offset <= known_offset then return { known_epoch, known_offset } end
end
redis.call('HSET', room, field, struct.pack('>I6I7', epoch, offset))
return { epoch, offset }
