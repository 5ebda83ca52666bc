-- KEYS[1] control record, KEYS[2] latest   ARGV: hold | end | sweep, name of a new epoch, most markers, bell, token
-- (32 characters), hold in milliseconds, marker...
-- Holds markers for a change, releases them, or releases what nobody has renewed in time. Answers the epoch, the
-- position, and a number: of markers that the change did not hold yet, or of changes that were ended and not this one.
local control, latest, step, token = KEYS[1], KEYS[2], ARGV[1], ARGV[5]
if not redis.call('ZSCORE', control, '\0s') then
  begin(control, latest, '\0e' .. ARGV[2])
end
local time = redis.call('TIME')
local now = BASE + time[1] * 1000 + math.floor(time[2] / 1000)
local epoch, position = redis.call('ZRANGE', control, 0, 0)[1], redis.call('ZSCORE', control, '\0s')
local before, changes = position, {}
-- No hold is asked for that is longer, in milliseconds (LONGEST_HOLD).
local LONGEST = 60000

local function is_marker(text)
  return string.find(text, '^[hs]:%*$') or (#text == 18 and string.find(text, '^[hs]:'))
end

-- What was done so far takes effect: at a position of its own, so that look-ups see that something has changed.
local function finish()
  tell(control, latest, before, table.concat(changes))
  -- A bell that may not ring costs time, and nothing else.
  redis.pcall('PUBLISH', ARGV[4], position)
end

if step == 'hold' then
  -- Before anything is written: a change holds all of its markers, or none.
  local new = 0
  for i = 7, #ARGV do
    if not redis.call('ZSCORE', control, '\0c' .. token .. ARGV[i]) then
      new = new + 1
    end
  end
  if new > 0 and redis.call('ZCOUNT', control, BASE, '(inf') + new > 1024 then
    return redis.error_reply('TOOMANY too many open changes')
  end
  if new > 0 then
    position = redis.call('ZINCRBY', control, 1, '\0s')
  end
  for i = 7, #ARGV do
    redis.call('ZADD', control, now + tonumber(ARGV[6]), '\0c' .. token .. ARGV[i], '+inf', ARGV[i])
    changes[#changes + 1] = change(position, '+', ARGV[i])
  end
  if new > 0 then
    finish()
  end
  return {epoch, position, new}
end

local free, held, swept, unheld = {}, {}, {}, {}
if step == 'end' then
  for i = 7, #ARGV do
    free[ARGV[i]] = true
    redis.call('ZREM', control, '\0c' .. token .. ARGV[i])
  end
end
local above = redis.call('ZRANGEBYSCORE', control, BASE, '+inf', 'WITHSCORES')
for i = 1, #above, 2 do
  local member, ends = above[i], tonumber(above[i + 1])
  local marker = string.sub(member, 35)
  if string.sub(member, 1, 2) ~= '\0c' then
    unheld[member] = string.sub(member, 1, 1) ~= '\0'
  elseif ends < now or ends > now + LONGEST then
    -- Nobody has renewed it, or nobody has asked for it: it was put there by somebody else.
    redis.call('ZREM', control, member)
    free[marker], swept[string.sub(member, 3, 34)] = true, true
  else
    held[marker] = true
  end
end
for member, is_ours in pairs(unheld) do
  -- A marker above every position, and no hold behind it (the model's `swept_only_if_unheld`).
  if is_ours and not held[member] and not free[member] then
    redis.call('ZREM', control, member)
    free[member], swept[member] = true, true
  end
end
local others = 0
for _ in pairs(swept) do
  others = others + 1
end
if next(free) then
  -- Every way out takes a new position: what was fetched during the change stays dead.
  position = redis.call('ZINCRBY', control, 1, '\0s')
  for marker in pairs(free) do
    if is_marker(marker) and not held[marker] then
      redis.call('ZADD', control, position, marker)
      changes[#changes + 1] = change(position, '=', marker)
    end
  end
  forget(control, ARGV[3])
  finish()
end
return {epoch, position, others}
