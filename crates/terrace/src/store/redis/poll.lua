-- KEYS[1] control record, KEYS[2] latest   ARGV: position, most members, epoch
-- Answers the members after the position with their scores, the scores of the epoch, the sequence and the floor, the
-- number of members, and the time.
-- It reads, but is no read-only script: where nothing can be written, what it read would prove nothing.
local members = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
local scores = redis.call('ZMSCORE', KEYS[1], ARGV[3], '\0s', '\0f')
if scores[1] and redis.pcall('GETRANGE', KEYS[2], 0, 15) ~= string.format('%016.0f', scores[2]) then
  -- Evicted, or replaced by somebody.
  tell(KEYS[1], KEYS[2], scores[2], '')
end
return {members, scores, redis.call('ZCARD', KEYS[1]), redis.call('TIME')}
