-- What every script about a room's log begins with: one hash holds all of a room, so that nothing can remove a part of it.
--
--   epoch, head, print            the room's incarnation, its newest offset and that entry's fingerprint
--   trimmed, tprint, redactions   the last entry that was forgotten; how many bodies were removed
--   swept, forgot                 entries up to here are out of the hash; keys up to here are forgotten
--   e<offset>                     an entry: time, fingerprint, kind, lengths, how many attachments, author, key, name, body
--   k<digest>                     what an author's key was used for: offset, fingerprint, time
--   t<offset>                     a trimmed entry, whose key is remembered: time, digest
--   p<what><who>                  how far a reader is: epoch, offset
local room = KEYS[1]
local REDACTED = 128
local HEADER, HEADER_BYTES = '>I6I6BI2I2I2I2', 21

local function state()
  local fields = redis.call('HMGET', room, 'epoch', 'head', 'print', 'trimmed', 'tprint', 'redactions', 'swept', 'forgot')
  local numbers = {}
  for index = 1, 8 do
    numbers[index] = tonumber(fields[index] or '0')
  end
  return {
    epoch = numbers[1], head = numbers[2], print = numbers[3], trimmed = numbers[4],
    tprint = numbers[5], redactions = numbers[6], swept = numbers[7], forgot = numbers[8],
  }
end

local function bounds(s)
  return { s.epoch, s.head, s.print, s.trimmed, s.tprint, s.redactions }
end

local function digest(author, key)
  return 'k' .. string.sub(redis.sha1hex(#author .. ':' .. author .. key), 1, 32)
end

-- An entry's fields, as far as scripts look into it.
local function entry(offset)
  local packed = redis.call('HGET', room, 'e' .. text(offset))
  if not packed then return nil end
  local at, print, kind, author, key, name, attachments, body = struct.unpack(HEADER, packed)
  local function slice(length)
    local from = body
    body = body + length
    return string.sub(packed, from, body - 1)
  end
  author, key, name = slice(author), slice(key), slice(name)
  return {
    at = at, print = print, kind = kind, attachments = attachments,
    author = author, key = key, name = name, body = string.sub(packed, body),
  }
end

-- Everything up to `upto`, which is there, counts as gone.
local function trim(s, upto)
  local last = entry(upto)
  if not last then return end
  s.trimmed, s.tprint = upto, last.print
  redis.call('HSET', room, 'trimmed', text(upto), 'tprint', text(last.print))
end

-- Takes up to `most` trimmed entries out of the hash; of each its key remains.
local function sweep(s, most)
  local from = s.swept
  while s.swept < s.trimmed and s.swept < from + most do
    s.swept = s.swept + 1
    local gone = entry(s.swept)
    if gone then
      redis.call('HDEL', room, 'e' .. text(s.swept))
      redis.call('HSET', room, 't' .. text(s.swept), struct.pack('>I6', gone.at) .. digest(gone.author, gone.key))
    end
  end
  if from < s.swept then redis.call('HSET', room, 'swept', text(s.swept)) end
end

-- Forgets up to `most` keys that were used before `since`.
local function forget(s, since, most)
  local from = s.forgot
  while s.forgot < s.swept and s.forgot < from + most do
    local field = 't' .. text(s.forgot + 1)
    local kept = redis.call('HGET', room, field)
    if kept then
      if since <= struct.unpack('>I6', kept) then break end
      redis.call('HDEL', room, field, string.sub(kept, 7))
    end
    s.forgot = s.forgot + 1
  end
  if from < s.forgot then redis.call('HSET', room, 'forgot', text(s.forgot)) end
end
