-- What every script about nodes begins with.
--
--   KEYS[1]  sorted set: until when each node's lease lasts
--   KEYS[2]  set: the nodes that have taken seats
local leases, seated = KEYS[1], KEYS[2]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
