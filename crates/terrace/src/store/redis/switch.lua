-- KEYS[1] switches   ARGV: what a line says after its time, most lines, most bytes
-- Writes a line that this server dates, and forgets the oldest, but for the last of each feature.
local text = redis.pcall('GETRANGE', KEYS[1], 0, tonumber(ARGV[3]))
if type(text) ~= 'string' or #text > tonumber(ARGV[3]) then
  -- None of ours.
  text = ''
end
local time = redis.call('TIME')
-- What follows the last end of a line is not whole.
text = (string.match(text, '^(.*\n)') or '') .. string.format('%s%03d %s\n', time[1], math.floor(time[2] / 1000), ARGV[1])
local lines, last = {}, {}
for line in string.gmatch(text, '([^\n]*)\n') do
  lines[#lines + 1] = line
  last[string.match(line, '^%d+ (%S+) ') or ''] = #lines
end
local kept = {}
for i, line in ipairs(lines) do
  local feature = string.match(line, '^%d+ (%S+) ')
  if feature and #feature <= 32 and #line <= 1024 and (i > #lines - tonumber(ARGV[2]) or last[feature] == i) then
    kept[#kept + 1] = line .. '\n'
  end
end
-- It stays until it is replaced: a switch that ends by itself would be a surprise.
redis.call('SET', KEYS[1], table.concat(kept))
return redis.status_reply('OK')
