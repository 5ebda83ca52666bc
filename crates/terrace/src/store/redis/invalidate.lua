-- KEYS[1] control record, KEYS[2] latest   ARGV: name of a new epoch, most markers, bell, marker...
-- Takes the next position for the markers. Answers the epoch and the position.
local control, latest = KEYS[1], KEYS[2]
local before = redis.call('ZSCORE', control, '\0s')
if not before then
  before = 0
  begin(control, latest, '\0e' .. ARGV[1])
end
local position, changes = redis.call('ZINCRBY', control, 1, '\0s'), {}
for i = 4, #ARGV do
  -- GT: what a change holds stays held.
  redis.call('ZADD', control, 'GT', position, ARGV[i])
  -- One more than can be told says that some are not.
  if #changes <= MOST then
    changes[#changes + 1] = change(position, '=', ARGV[i])
  end
end
forget(control, ARGV[2])
tell(control, latest, before, table.concat(changes))
-- A bell that may not ring costs time, and nothing else.
redis.pcall('PUBLISH', ARGV[3], position)
return {redis.call('ZRANGE', control, 0, 0)[1], position}
