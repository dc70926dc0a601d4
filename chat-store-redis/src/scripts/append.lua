-- Stores an entry once, and tells those who listen: all or nothing. Without a command to publish by, nobody is told: it is waited for
-- replicas first.
local author, key, name, body = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local kind, attachments, epoch = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local channel, publish = ARGV[8], ARGV[9]
local entries_max, retain_ms, keys_ms = tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[12])

local s = state()
local known = digest(author, key)
local first = redis.call('HGET', room, known)
if first then
  local offset, print, at = struct.unpack('>I7I6I6', first)
  local kept = s.trimmed < offset and entry(offset)
  -- Something is written in any case, so that what is waited for comes behind the first one.
  if publish == '' then redis.call('HSET', room, 'head', text(s.head)) end
  local differs = kept and kept.kind < REDACTED and
    (kept.body ~= body or kept.attachments ~= attachments or kept.kind ~= kind)
  return { differs and 'conflict' or 'duplicate', s.epoch, offset, print, at }
end

local at = now()
if s.epoch == 0 then
  s.epoch = epoch
  redis.call('HSET', room, 'epoch', text(epoch))
end
local offset = s.head + 1
local seed = text(s.print) .. ':' .. text(at) .. ':' .. #author .. ':' .. author .. key
local print = math.max(tonumber(string.sub(redis.sha1hex(seed), 1, 12), 16), 1)
local packed = struct.pack(HEADER, at, print, kind, #author, #key, #name, attachments) .. author .. key .. name .. body
redis.call('HSET', room, 'head', text(offset), 'print', text(print), 'e' .. text(offset), packed,
  known, struct.pack('>I7I6I6', offset, print, at))
s.head, s.print = offset, print
if publish ~= '' then redis.call(publish, channel, 'A' .. struct.pack('>I6I7', s.epoch, offset) .. packed) end

-- Upkeep, a little with each entry.
if 0 < entries_max and entries_max < s.head - s.trimmed then trim(s, s.head - entries_max) end
if 0 < retain_ms then
  for _ = 1, 8 do
    local oldest = entry(s.trimmed + 1)
    if not oldest or at - retain_ms <= oldest.at then break end
    trim(s, s.trimmed + 1)
  end
  redis.call('PEXPIRE', room, text(math.max(retain_ms, keys_ms)))
end
sweep(s, 16)
forget(s, at - keys_ms, 16)
return { 'fresh', s.epoch, offset, print, at }
