-- Takes a seat. Answers the version, what changed, and how many seats the node has in the room: none, if it would have been the first one and
-- must not be.
local id, connection, name, among = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

if among ~= '' and redis.call('SCARD', seats) == 0 then return { 0, '', 0 } end
local added = redis.call('SADD', seats, seat(id, connection))
local count = redis.call('SCARD', seats)
local devices, known = user(id)
if not devices then
  redis.call('PERSIST', here)
  redis.call('HSET', here, 'u' .. id, struct.pack('>I4', 1) .. name)
  redis.call('ZADD', users, 0, id)
  return { next_version(), 'arrived', count }
end
if added == 1 or known ~= name then
  redis.call('HSET', here, 'u' .. id, struct.pack('>I4', devices + added) .. name)
end
if known ~= name then return { next_version(), 'renamed', count } end
return { version(), '', count }
