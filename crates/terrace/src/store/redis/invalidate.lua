-- KEYS[1] control record   ARGV: name of a new epoch, most markers, bell, marker...
-- Takes the next position for the markers. Answers the epoch and the position.
local control = KEYS[1]
if not redis.call('ZSCORE', control, '\0s') then
  -- Lost: what was stored before is dead.
  redis.call('UNLINK', control)
  redis.call('ZADD', control, -1, '\0e' .. ARGV[1], 0, '\0f', 0, '\0s')
end
local position = redis.call('ZINCRBY', control, 1, '\0s')
for i = 4, #ARGV do
  -- GT: what a change holds stays held.
  redis.call('ZADD', control, 'GT', position, ARGV[i])
end
local over = redis.call('ZCARD', control) - 3 - tonumber(ARGV[2])
if over > 0 then
  -- Forget the oldest, and raise the floor to the last of them. Ranks 0 and 1 are the epoch and the floor.
  local oldest, floor = redis.call('ZRANGE', control, 2, 2 + over, 'WITHSCORES'), nil
  for i = 1, #oldest, 2 do
    if over > 0 and oldest[i] ~= '\0s' and tonumber(oldest[i + 1]) < 4503599627370496 then
      redis.call('ZREM', control, oldest[i])
      floor, over = oldest[i + 1], over - 1
    end
  end
  if floor then
    redis.call('ZADD', control, floor, '\0f')
  end
end
-- A bell that may not ring costs time, and nothing else.
redis.pcall('PUBLISH', ARGV[3], position)
return {redis.call('ZRANGE', control, 0, 0)[1], position}
