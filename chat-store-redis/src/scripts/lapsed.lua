-- Nodes that have taken seats and have no lease any more.
local time = now()
local answer = {}
for _, node in ipairs(redis.call('SMEMBERS', seated)) do
  local known = redis.call('ZSCORE', leases, node)
  if not known or tonumber(known) <= time then answer[#answer + 1] = node end
end
return answer
