-- Put a new promotion into the store, once; one that is there already stays as it is.
--
-- A promotion whose publish time has passed starts in this same step.
--
-- KEYS, ARGV[1]  see promotion.lua
-- ARGV[2..]      flat list of the promotion's fields and their values
-- Returns {outcome, detail, events, timer, now}; the detail is the promotion's state
--   INSTALLED  it is there now
--   EXISTS     it was there before

if redis.call('EXISTS', KEYS[1]) == 1 then
  local found = redis.call('HGET', KEYS[1], 'state')
  return {'EXISTS', {'state', found or 'RECOVERING'}, {}}
end
redis.call('HSET', KEYS[1], 'state', 'SCHEDULED', 'version', 0, 'granted', 0, 'sold', 0,
  'history', history(), unpack(ARGV, 2))
local promotion = read_promotion()
local now = now_ms()
advance(promotion, now)
local reply = answer(promotion, now, 'INSTALLED', {'state', promotion.state})
reply[4] = timer_to_arm(promotion, now)
return reply
