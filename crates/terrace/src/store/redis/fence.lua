-- KEYS[1] control record, KEYS[2] latest   ARGV: identity of the server, nonce, bell, epoch that has to end or nothing
-- Begins a new epoch unless the record is this server's. Answers the epoch.
local control, latest = KEYS[1], KEYS[2]
local epoch = redis.call('ZRANGE', control, 0, 0)[1]
local ours = '\0e' .. ARGV[1]
if epoch and epoch ~= ARGV[4] and string.sub(epoch, 1, #ours) == ours and redis.call('ZSCORE', control, '\0s') then
  return epoch
end
begin(control, latest, ours .. ARGV[2])
-- A bell that may not ring costs time, and nothing else.
redis.pcall('PUBLISH', ARGV[3], '0')
return ours .. ARGV[2]
