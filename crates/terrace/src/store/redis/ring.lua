-- KEYS[1] ring: lists of keys, scored by when they were last said   ARGV: how long that counts, list
-- Says which keys a process has, unless somebody who lives has none of them: each would miss what the other revokes.
local ring, life, list = KEYS[1], ARGV[1], ARGV[2]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', ring, '-inf', now - life, 'LIMIT', 0, 100)) do
  redis.call('ZREM', ring, gone)
end
local function shares_a_key(theirs)
  for key in string.gmatch(theirs, '[^,]+') do
    if string.find(',' .. list .. ',', ',' .. key .. ',', 1, true) then
      return true
    end
  end
  return false
end
for _, theirs in ipairs(redis.call('ZRANGE', ring, 0, 99)) do
  if not shares_a_key(theirs) then
    return 0
  end
end
redis.call('ZADD', ring, now, list)
return 1
