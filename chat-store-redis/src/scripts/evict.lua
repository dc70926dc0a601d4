-- Gives up seats of a node, a few at a time: for each user who left by it the id, the name and the version. First whether there are more.
local taken = redis.call('SPOP', seats, tonumber(ARGV[1]))
local answer = { redis.call('SCARD', seats) }
for _, each in ipairs(taken) do
  local length, from = struct.unpack('>I2', each)
  local id = string.sub(each, from, from + length - 1)
  local gone_with, name = give_up(id)
  if gone_with then
    answer[#answer + 1] = id
    answer[#answer + 1] = name
    answer[#answer + 1] = gone_with
  end
end
return answer
