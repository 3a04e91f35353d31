-- Put a new promotion into the store, once; one that is there already stays as it is.
--
-- A promotion whose publish time has passed starts in this same step.
--
-- KEYS, ARGV[1]  see promotion.lua
-- ARGV[2..]      flat list of the promotion's fields and their values
-- Returns {outcome, detail, events}; the detail is the promotion's state
--   INSTALLED  the events decided: PromotionStarted, if it was due
--   EXISTS     none

if redis.call('EXISTS', KEYS[1]) == 1 then
  return {'EXISTS', {'state', redis.call('HGET', KEYS[1], 'state')}, {}}
end
redis.call('HSET', KEYS[1], 'state', 'SCHEDULED', 'version', 0, 'granted', 0, unpack(ARGV, 2))
local promotion = read_promotion()
advance(promotion, now_ms())
commit(promotion)
return {'INSTALLED', {'state', promotion.state}, promotion.events}
