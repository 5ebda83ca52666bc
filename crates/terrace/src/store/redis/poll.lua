-- KEYS[1] control record   ARGV: position, most members, epoch
-- Answers the members after the position with their scores, the scores of the epoch, the sequence and the floor, and the
-- number of members.
-- It reads, but is no read-only script: where nothing can be written, what it read would prove nothing.
local members = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
return {members, redis.call('ZMSCORE', KEYS[1], ARGV[3], '\0s', '\0f'), redis.call('ZCARD', KEYS[1])}
