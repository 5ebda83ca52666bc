-- What look-ups read instead of the control record: where it stands, and the latest changes, most of which fit.
-- Position, floor, the position after which every change is told, the number of members of the record, and that of open
-- holds, of 16 digits each; the number of changes, of two; the changes; the epoch. A change is a position, = for a mark or
-- + for a hold, and a marker filled up with blanks to 18.
local MOST, WIDTH, HEAD = 16, 35, 82
-- Where holds begin: later than every position, and exact.
local BASE = 4503599627370496

local function change(position, kind, marker)
  return string.format('%016.0f', position) .. kind .. marker .. string.rep(' ', 18 - #marker)
end

-- Whether what was told is about the record as it stands.
local function is_of(told, position, epoch)
  if type(told) ~= 'string' or string.sub(told, 1, 16) ~= string.format('%016.0f', position) then
    return false
  end
  if not string.find(string.sub(told, 1, HEAD), '^%d+$') then
    return false
  end
  return string.sub(told, HEAD + 1 + tonumber(string.sub(told, HEAD - 1, HEAD)) * WIDTH) == epoch
end

-- Tells what this script has done since the record stood at `before`.
local function tell(control, latest, before, changes)
  local epoch = redis.call('ZRANGE', control, 0, 0)[1]
  local now = redis.call('ZMSCORE', control, '\0s', '\0f')
  local since, old = string.format('%016.0f', before), redis.pcall('GET', latest)
  if is_of(old, before, epoch) then
    since, changes = string.sub(old, 33, 48), string.sub(old, HEAD + 1, -#epoch - 1) .. changes
  end
  local over = #changes - MOST * WIDTH
  if over > 0 then
    -- Nothing at the position of what is left out counts as told.
    since = string.sub(changes, over - WIDTH + 1, over - WIDTH + 16)
    changes = string.sub(changes, over + 1)
  end
  local members, holds = redis.call('ZCARD', control), redis.call('ZCOUNT', control, BASE, '(inf')
  local head = string.format('%016.0f%016.0f', now[1], now[2]) .. since
  head = head .. string.format('%016.0f%016.0f%02d', members, holds, #changes / WIDTH)
  redis.call('SET', latest, head .. changes .. epoch)
end

-- With more members than so many markers need: forgets the oldest, and raises the floor to the last of them. No more than
-- a call has time for; the next goes on.
local function forget(control, most)
  local over = math.min(redis.call('ZCARD', control) - 3 - tonumber(most), 1000 + #ARGV)
  if over <= 0 then
    return
  end
  -- Ranks 0 and 1 are the epoch and the floor.
  local oldest, floor = redis.call('ZRANGE', control, 2, 2 + over, 'WITHSCORES'), nil
  for i = 1, #oldest, 2 do
    if over > 0 and oldest[i] ~= '\0s' and tonumber(oldest[i + 1]) < BASE then
      redis.call('ZREM', control, oldest[i])
      floor, over = oldest[i + 1], over - 1
    end
  end
  if floor then
    redis.call('ZADD', control, floor, '\0f')
  end
end

-- Begins an epoch: what was stored before is dead.
local function begin(control, latest, epoch)
  redis.call('UNLINK', control)
  redis.call('ZADD', control, -1, epoch, 0, '\0f', 0, '\0s')
  tell(control, latest, 0, '')
end

