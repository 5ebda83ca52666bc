-- KEYS[1] lease   ARGV: token, bell
-- Ends a lease if it is still the caller's, and wakes those who wait for it.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
  -- Not a position: nobody need look for invalidations.
  redis.call('PUBLISH', ARGV[2], '-')
  return 1
end
return 0
