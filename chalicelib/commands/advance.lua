-- Move a promotion to now when nobody else does: start it, release its overdue holds, finish it.
--
-- KEYS, ARGV[1]  see promotion.lua
-- Returns {outcome, {}, events, timer, now}
--   SCHEDULED, ON_SALE              its state, still open
--   SOLD_OUT, FINISHED, CANCELLED   how it ended
--   UNKNOWN                         the store has no such promotion

local promotion = read_promotion()
if not promotion then
  return {'UNKNOWN', {}, {}}
end
local now = now_ms()
advance(promotion, now)
local reply = answer(promotion, now, promotion.closed_as or promotion.state)
if reply[4] == 0 then
  reply[4] = timer_to_arm(promotion, now)  -- makes up for a timer that got lost
end
return reply
