-- Let the keys of a promotion that is over expire, once nothing of it waits. Never a live one.
--
-- KEYS, ARGV[1]  see promotion.lua
-- ARGV[2]        time to live of the keys, in seconds
-- Returns {outcome, {}, {}}
--   RETIRED  the keys will expire
--   BUSY     it is open, has unpaid coupons, or events wait in its outbox
--   UNKNOWN  the store has no such promotion

local promotion = read_promotion()
if not promotion then
  return {'UNKNOWN', {}, {}}
end
if not promotion.closed_as or redis.call('XLEN', KEYS[3]) > 0
  or redis.call('ZCARD', KEYS[4]) > 0 then
  return {'BUSY', {}, {}}
end
redis.call('EXPIRE', KEYS[1], ARGV[2])
redis.call('EXPIRE', KEYS[2], ARGV[2])
redis.call('DEL', KEYS[3])
return {'RETIRED', {}, {}}
