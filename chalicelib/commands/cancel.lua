-- Cancel a promotion: a live sale stops at once, and unpaid coupons are released.
--
-- KEYS, ARGV[1]  see promotion.lua
-- Returns {outcome, {}, events, timer, now}; the event of the end goes along while it waits
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
local version = tonumber(redis.call('HGET', KEYS[1], 'closed_version'))
return take_version(promotion, answer(promotion, now, promotion.closed_as), now, version)
