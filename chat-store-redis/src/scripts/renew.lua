-- Extends a node's lease. Answers whether it had not run out.
local time = now()
local known = redis.call('ZSCORE', leases, ARGV[1])
redis.call('ZADD', leases, time + tonumber(ARGV[2]), ARGV[1])
return known and time < tonumber(known) and 1 or 0
