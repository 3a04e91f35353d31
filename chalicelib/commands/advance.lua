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
return answer(promotion, now, promotion.closed_as or promotion.state)
