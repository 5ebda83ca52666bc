-- KEYS[1] control record   ARGV: identity of the server, nonce, bell, epoch that has to end or nothing
-- Begins a new epoch unless the record is this server's. Answers the epoch.
local control = KEYS[1]
local epoch = redis.call('ZRANGE', control, 0, 0)[1]
local ours = '\0e' .. ARGV[1]
if epoch and epoch ~= ARGV[4] and string.sub(epoch, 1, #ours) == ours and redis.call('ZSCORE', control, '\0s') then
  return epoch
end
redis.call('UNLINK', control)
epoch = ours .. ARGV[2]
redis.call('ZADD', control, -1, epoch, 0, '\0f', 0, '\0s')
-- A bell that may not ring costs time, and nothing else.
redis.pcall('PUBLISH', ARGV[3], '0')
return epoch
