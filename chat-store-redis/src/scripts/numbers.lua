-- What every script begins with.

-- Numbers up to 2^53, whole.
local function text(number)
  return string.format('%.0f', number)
end

-- The server's time, in milliseconds.
local function now()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

