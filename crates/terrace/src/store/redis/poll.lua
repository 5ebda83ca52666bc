-- KEYS[1] control record, KEYS[2] latest   ARGV: position, most members, epoch, 1 to look for what is forged
-- Answers what is told of the latest changes, and the time. If that is not all: the members after the position with their
-- scores, the scores of the epoch, the sequence and the floor, the number of members, and the time.
-- It reads, but is no read-only script: where nothing can be written, what it read would prove nothing.
local since, position = tonumber(ARGV[1]), redis.call('ZSCORE', KEYS[1], '\0s')
local told = redis.pcall('GET', KEYS[2])
local is_told = position and is_of(told, position, ARGV[3])
if is_told and since >= tonumber(string.sub(told, 33, 48)) and since <= tonumber(position)
  and tonumber(string.sub(told, 65, 80)) == 0 and (ARGV[4] ~= '1' or redis.call('ZCOUNT', KEYS[1], BASE, '+inf') == 0) then
  -- Nearly always. What is held has to be looked for, since it ends by itself; who forges it tells nobody.
  return {told, redis.call('TIME')}
end
local members = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
local scores = redis.call('ZMSCORE', KEYS[1], ARGV[3], '\0s', '\0f')
if scores[1] and scores[2] and not is_told then
  -- Evicted, or replaced by somebody.
  tell(KEYS[1], KEYS[2], scores[2], '')
end
return {members, scores, redis.call('ZCARD', KEYS[1]), redis.call('TIME')}
