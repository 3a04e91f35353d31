-- Grant one coupon to one customer: at most `stock` in all, `coupons_per_customer` to each.
--
-- Whoever asks too often is refused before anything else is read: see throttle.lua. Then the
-- customer's own coupons are looked up, so a repeat gets the same coupon whatever has
-- become of the promotion: see late.lua, which refuses the losers of a sale that is over. The key
-- makes a call a repeat, whatever has become of its coupon; with one coupon per customer, holding
-- one does, too. Nothing is stored of a loser beyond their bucket.
--
-- KEYS, ARGV[1]  see promotion.lua
-- ARGV[2]        customer
-- ARGV[3]        key of this call, the same when it is sent again; behind a blank the number of the
--                coupon that an earlier call of this key got, where it is known
-- ARGV[4]        until when a token admits this customer (ms), 0 or none without one; whether the
--                promotion asks for one is known here only, so no caller can forget to
-- ARGV[5..]      limits of the buckets, see throttle.lua
-- Returns {outcome, detail, events, timer, now}; details are flat lists of names and values, and
-- have `rates` too where there are buckets and a promotion
--   THROTTLED      retryInMs
--   REPEATED       the coupon of before; its event, if it still waits in the outbox
--   GRANTED        the coupon
--   NOT_STARTED    opensAt (ms)
--   TOKEN_REQUIRED the promotion asks for a token, and there is none or it has expired
--   SOLD_OUT, LIMIT_REACHED        nothing for this customer now
--   SOLD_OUT, FINISHED, CANCELLED  over: 1; nothing for anybody ever
--   UNKNOWN        the store has no such promotion, or has lost a part of it

-- How many coupons a customer may give back or let expire, and still grab: their record is read
-- on each of their calls, and must not grow for ever.
local RETURNS = 20

local promotion = read_promotion(own)
if not promotion then
  return {'UNKNOWN', {}, {}}
end
promotion.rates = rates

local now = now_ms()
advance(promotion, now)
local coupons = coupons_of(promotion, ARGV[2], own)
release_own(promotion, coupons, ARGV[2], now)

local key, number = string.match(ARGV[3], '^(%S+) ?(%d*)$')
local repeated = find(coupons, 'key', key) or find_number(coupons, tonumber(number))
if not repeated and promotion.limit == 1 then
  repeated = find(coupons, 'state', 'G') or find(coupons, 'state', 'P')
end
if repeated then
  return answer_coupon(promotion, now, 'REPEATED', repeated)
end
if promotion.state == 'SCHEDULED' then
  return answer(promotion, now, 'NOT_STARTED', {'opensAt', promotion.opens_at})
end
if promotion.closed_as then
  return answer(promotion, now, promotion.closed_as, {'over', 1})
end
if promotion.admission == 'token' and tonumber(ARGV[4] or 0) <= now then
  return answer(promotion, now, 'TOKEN_REQUIRED')
end
if active(coupons) >= promotion.limit or #coupons >= promotion.limit + RETURNS then
  return answer(promotion, now, 'LIMIT_REACHED')
end
if promotion.available == 0 then
  return answer(promotion, now, 'SOLD_OUT')
end

promotion.available = promotion.available - 1
promotion.granted = promotion.granted + 1
local coupon = {number = promotion.granted, at = now, key = key}
if promotion.hold_ms > 0 then
  coupon.deadline = now + promotion.hold_ms
else
  promotion.sold = promotion.sold + 1
end
coupons[#coupons + 1] = coupon
move(promotion, ARGV[2], coupon, 'G', 'CouponGrabbed', now)
finish_if_sold(promotion, now)
return answer_coupon(promotion, now, 'GRANTED', coupon)
