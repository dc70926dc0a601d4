-- Who is in a room: what every script about that begins with. Apart from the room's log, since nothing of it need survive.
--
--   KEYS[1]  hash: version; u<user>: on how many connections, and the name
--   KEYS[2]  sorted set: the users, in the order of their ids
--   KEYS[3]  set: the seats that one node has in the room: length of the user, user, connection
local here, users, seats = KEYS[1], KEYS[2], KEYS[3]
local DAY_MS, EDGES_A_DAY = 86400000, 2147483648

-- That of a room of which nothing is left is beyond any that it can have had: it is kept for two days.
local function version()
  local known = redis.call('HGET', here, 'version')
  return known and tonumber(known) or math.floor(now() / DAY_MS) * EDGES_A_DAY
end

local function next_version()
  local next = version() + 1
  redis.call('HSET', here, 'version', text(next))
  return next
end

local function user(id)
  local packed = redis.call('HGET', here, 'u' .. id)
  if not packed then return nil end
  return struct.unpack('>I4', packed), string.sub(packed, 5)
end

local function seat(id, connection)
  return struct.pack('>I2', #id) .. id .. connection
end

-- One connection less. Answers the version if the user has gone by it, and the name.
local function give_up(id)
  local devices, name = user(id)
  if not devices then return nil end
  if 1 < devices then
    redis.call('HSET', here, 'u' .. id, struct.pack('>I4', devices - 1) .. name)
    return nil
  end
  redis.call('HDEL', here, 'u' .. id)
  redis.call('ZREM', users, id)
  local gone_with = next_version()
  if redis.call('ZCARD', users) == 0 then redis.call('PEXPIRE', here, 2 * DAY_MS) end
  return gone_with, name
end
