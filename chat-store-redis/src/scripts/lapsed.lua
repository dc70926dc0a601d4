-- Nodes that have taken seats and have no lease any more.
local answer = {}
for _, node in ipairs(redis.call('SMEMBERS', seated)) do
  local known = redis.call('ZSCORE', leases, node)
  if not known or tonumber(known) <= now then answer[#answer + 1] = node end
end
return answer
