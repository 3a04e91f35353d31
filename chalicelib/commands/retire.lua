-- Let the keys of a promotion that is over expire, once nothing of it waits. Never a live one.
--
-- A retired promotion is watched by nobody: scripts decide nothing there until it is watched again,
-- see watch.lua.
--
-- KEYS, ARGV[1]  see promotion.lua
-- ARGV[2]        how long it must have been over, in milliseconds
-- Returns {outcome, {}, {}}
--   RETIRED  the keys will expire
--   BUSY     it is open or was until lately, has unpaid coupons, events in its outbox, or read tables
--            that must be rebuilt
--   UNKNOWN  the store has no such promotion

local promotion = read_promotion()
if not promotion then
  return {'UNKNOWN', {}, {}}
end
local now = now_ms()
local found = redis.call('HMGET', KEYS[1], 'closed_at', 'rebuild')
local closed_at = tonumber(found[1] or 0)
if closed_at > now then  -- the clock was set back
  closed_at = now
  redis.call('HSET', KEYS[1], 'closed_at', now)
end
local busy = not promotion.closed_as or now - closed_at < tonumber(ARGV[2]) or found[2]
  or redis.call('XLEN', KEYS[3]) > 0 or redis.call('ZCARD', KEYS[4]) > 0
if busy and not promotion.retired then
  return {'BUSY', {}, {}}
end
for i = 1, 4 do
  redis.call('EXPIRE', KEYS[i], KEPT_S)
end
if busy then
  return {'BUSY', {}, {}}
end
redis.call('DEL', KEYS[3])
redis.call('HDEL', KEYS[1], 'history')  -- no fail-over can forget any of it now
redis.call('HSET', KEYS[1], 'retired', 1)
return {'RETIRED', {}, {}}
