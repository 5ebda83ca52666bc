-- KEYS[1] scratch key, KEYS[2] control record   ARGV: bell
-- Tries what the others need, without leaving anything behind. Answers the commands that are not permitted.
local scratch, denied = KEYS[1], {}
local function try(...)
  local reply = redis.pcall(...)
  local why = type(reply) == 'table' and reply.err or ''
  -- As versions from 6.2 on say it.
  for _, said in ipairs({'The user executing the script', 'ACL failure in script', 'NOPERM'}) do
    if string.find(why, said, 1, true) then
      denied[#denied + 1] = select(1, ...)
      return
    end
  end
end
try('SET', scratch, '1', 'PX', 1000)
try('GET', scratch)
try('GETRANGE', scratch, 0, 0)
try('PTTL', scratch)
try('DEL', scratch)
try('ZADD', scratch, 1, 'a')
try('ZINCRBY', scratch, 1, 'a')
try('ZSCORE', scratch, 'a')
try('ZMSCORE', scratch, 'a')
try('ZRANGE', scratch, 0, 0)
try('ZRANGEBYSCORE', scratch, 0, 1)
try('ZCOUNT', scratch, 0, 1)
try('ZCARD', KEYS[2])
try('ZREM', scratch, 'a')
try('UNLINK', scratch)
try('TIME')
try('PUBLISH', ARGV[1], '-')
return denied
