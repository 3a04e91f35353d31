-- Put a new promotion into the store, once; one that is there already stays as it is.
--
-- A promotion whose publish time has passed starts in this same step. A fence around nothing is of a
-- look that came between the promotion's row and this call: there is nothing to recover yet.
--
-- KEYS, ARGV[1]  see promotion.lua
-- ARGV[2..]      flat list of the promotion's fields and their values
-- Returns {outcome, detail, events, timer, now}; the detail is the promotion's state
--   INSTALLED  it is there now
--   EXISTS     it was there before; its oldest events go along while they wait

if redis.call('HEXISTS', KEYS[1], 'state') == 1 then
  local promotion = read_promotion()
  if not promotion then
    return {'EXISTS', {'state', 'RECOVERING'}, {}}
  end
  local now = now_ms()
  local reply = {'EXISTS', {'state', promotion.state}, {}, 0, now}
  reply = take_along(promotion, reply, now, waiting('-', '+', RELAYED_PER_CALL))
  if reply[4] == 0 and promotion.version == 0 and promotion.timer_at > now then
    reply[4] = promotion.timer_at
  end
  return reply
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'state', 'SCHEDULED', 'version', 0, 'granted', 0, 'sold', 0,
  'history', history(), unpack(ARGV, 2))
local promotion = read_promotion()
local now = now_ms()
advance(promotion, now)
local reply = answer(promotion, now, 'INSTALLED', {'state', promotion.state})
reply[4] = timer_to_arm(promotion, now)
return reply
