-- A page of the users: version, how many there are in all, and of each the id, the name and the number of connections.
local after, limit = ARGV[1], tonumber(ARGV[2])

local answer = { version(), redis.call('ZCARD', users) }
if limit == 0 then return answer end
local from = after == '' and '-' or '(' .. after
for _, id in ipairs(redis.call('ZRANGEBYLEX', users, from, '+', 'LIMIT', 0, limit)) do
  local devices, name = user(id)
  if not devices then return redis.error_reply('DAMAGED a user of the room is missing') end
  answer[#answer + 1] = id
  answer[#answer + 1] = name
  answer[#answer + 1] = devices
end
return answer
