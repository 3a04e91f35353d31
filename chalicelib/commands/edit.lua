-- Replace the offer of a promotion that has not started: the check and the write are one step.
--
-- KEYS, ARGV[1]  see promotion.lua
-- ARGV[2]        key of this call, the same when it is sent again
-- ARGV[3..]      flat list of the promotion's fields and their values
-- Returns {outcome, detail, events, timer, now}; the detail is the promotion's state
--   EDITED                         the offer is replaced; it starts now if that is due
--   ON_SALE                        it has started: nothing was changed
--   SOLD_OUT, FINISHED, CANCELLED  it is over: nothing was changed
--   UNKNOWN                        the store has no such promotion

local promotion = read_promotion()
if not promotion then
  return {'UNKNOWN', {}, {}}
end
local now = now_ms()
advance(promotion, now)
if is_remembered('edits', ARGV[2]) then
  local reply = answer(promotion, now, 'EDITED', {'state', promotion.state})
  return take_along(promotion, reply, now, waiting('-', '+', RELAYED_PER_CALL))
end
if promotion.state ~= 'SCHEDULED' then
  return answer(promotion, now, promotion.closed_as or promotion.state)
end
redis.call('HDEL', KEYS[1], 'price', 'item_id', 'admission', 'timer_at')
redis.call('HSET', KEYS[1], unpack(ARGV, 3))
remember('edits', ARGV[2])
redis.call('HINCRBY', KEYS[1], 'revision', 1)
promotion = read_promotion()
advance(promotion, now)
local reply = answer(promotion, now, 'EDITED', {'state', promotion.state})
reply[4] = timer_to_arm(promotion, now)
return reply
