-- Takes a seat.
local id, connection, name = ARGV[1], ARGV[2], ARGV[3]

local added = redis.call('SADD', seats, seat(id, connection))
local devices, known = user(id)
if not devices then
  redis.call('PERSIST', here)
  redis.call('HSET', here, 'u' .. id, struct.pack('>I4', 1) .. name)
  redis.call('ZADD', users, 0, id)
  return { next_version(), 'arrived' }
end
if added == 1 or known ~= name then
  redis.call('HSET', here, 'u' .. id, struct.pack('>I4', devices + added) .. name)
end
if known ~= name then return { next_version(), 'renamed' } end
return { version(), '' }
