-- What every script about nodes begins with.
--
--   KEYS[1]  sorted set: until when each node's lease lasts
--   KEYS[2]  set: the nodes that have taken seats
local leases, seated = KEYS[1], KEYS[2]
