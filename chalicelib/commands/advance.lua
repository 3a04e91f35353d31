-- Move a promotion to now when nobody else does: start it when due, finish it at its end.
--
-- KEYS, ARGV[1]  see promotion.lua
-- Returns {outcome, {}, events}
--   SCHEDULED, ON_SALE              its state, still open; the events decided
--   SOLD_OUT, FINISHED              how it ended; the events decided
--   UNKNOWN                         none

local promotion = read_promotion()
if not promotion then
  return {'UNKNOWN', {}, {}}
end
advance(promotion, now_ms())
commit(promotion)
return {promotion.closed_as or promotion.state, {}, promotion.events}
