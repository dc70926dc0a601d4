-- A number larger than all before: the server's time in microseconds, or one more than the last where the clock has not moved on.
--
--   KEYS[1]  the last one, for as long as the clock may be behind it
local time = redis.call('TIME')
local ticket = tonumber(time[1]) * 1000000 + tonumber(time[2])
ticket = math.max(ticket, tonumber(redis.call('GET', KEYS[1]) or '0') + 1)
redis.call('SET', KEYS[1], text(ticket), 'EX', 86400)
return text(ticket)
