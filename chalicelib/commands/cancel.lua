-- Cancel a promotion: a live sale stops at once, and unpaid coupons are released.
--
-- KEYS, ARGV[1]  see promotion.lua
-- Returns {outcome, {}, events, timer, now}
--   CANCELLED           it is, by this call or one before
--   SOLD_OUT, FINISHED  it was over already
--   UNKNOWN             the store has no such promotion

local promotion = read_promotion()
if not promotion then
  return {'UNKNOWN', {}, {}}
end
local now = now_ms()
advance(promotion, now)
if not promotion.closed_as then
  close(promotion, now, 'PromotionCancelled', 'CANCELLED')
end
return answer(promotion, now, promotion.closed_as)
