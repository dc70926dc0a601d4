-- Gives a seat up. Answers also how many the node has left in the room.
local id, connection = ARGV[1], ARGV[2]

local gone_with = nil
if redis.call('SREM', seats, seat(id, connection)) == 1 then gone_with = give_up(id) end
return { gone_with or version(), gone_with and 'left' or '', redis.call('SCARD', seats) }
