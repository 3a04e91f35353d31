-- Let the keys of a promotion that is over expire, once nothing of it waits. Never a live one.
--
-- KEYS, ARGV[1]  see promotion.lua
-- ARGV[2]        time to live of the keys, in seconds
-- ARGV[3]        how long it must have been over, in milliseconds
-- Returns {outcome, {}, {}}
--   RETIRED  the keys will expire
--   BUSY     it is open or was until lately, has unpaid coupons, or events in its outbox
--   UNKNOWN  the store has no such promotion

local promotion = read_promotion()
if not promotion then
  return {'UNKNOWN', {}, {}}
end
local closed_at = tonumber(redis.call('HGET', KEYS[1], 'closed_at') or 0)
if not promotion.closed_as or now_ms() - closed_at < tonumber(ARGV[3]) or redis.call('XLEN', KEYS[3]) > 0
  or redis.call('ZCARD', KEYS[4]) > 0 then
  return {'BUSY', {}, {}}
end
redis.call('EXPIRE', KEYS[1], ARGV[2])
redis.call('EXPIRE', KEYS[2], ARGV[2])
redis.call('DEL', KEYS[3])
redis.call('HDEL', KEYS[1], 'history')  -- no fail-over can forget any of it now
return {'RETIRED', {}, {}}
