-- Confirm the payment of one coupon. The money has moved already, so the answer is either a
-- sold unit or a refund on record: never both, never neither.
--
-- After its deadline a coupon is released, and its unit may be another's. If one is still free,
-- and the customer is within the limit, the payment is honoured all the same.
--
-- KEYS, ARGV[1]  see promotion.lua
-- ARGV[2]        customer
-- ARGV[3]        number of the coupon
-- ARGV[4]        payment reference, or "*" for none
-- ARGV[5]        "PROMISED" where this payment was taken before the store went back: should another
--                one have paid for the coupon since, a refund of this one is recorded; none else
-- Returns {outcome, detail, events, timer, now}; the detail is the coupon, where there is one
--   PAID             it is sold
--   REPEATED         it was paid before, by this reference
--   ALREADY_PAID     it was paid before, by another reference
--   HOLD_EXPIRED     too late, none is free: a refund is due
--   COUPON_RELEASED  the customer gave it back: a refund is due
--   REVOKED          the store had forgotten it and it is another's now: a refund is due
--   CANCELLED        the promotion was cancelled: a refund is due
--   NOTHING_TO_PAY   without a hold a grab is final
--   UNKNOWN_COUPON   not this customer's
--   UNKNOWN          the store has no such promotion

local promotion, coupons, now = read_for(ARGV[2])
if not promotion then
  return {'UNKNOWN', {}, {}}
end
local coupon = find_number(coupons, tonumber(ARGV[3]))
if not coupon then
  return answer(promotion, now, 'UNKNOWN_COUPON')
end
if coupon.state == 'G' and not coupon.deadline then
  return answer_coupon(promotion, now, 'NOTHING_TO_PAY', coupon)
end
local reference = ARGV[4] ~= '*' and ARGV[4] or nil
if coupon.state == 'P' then
  local same = not reference or reference_of(coupon) == reference
  if ARGV[5] == 'PROMISED' and not same and not has_reference(coupon, reference) then
    local refund = {number = coupon.number, at = coupon.at, deadline = coupon.deadline,
      paid_at = now, references = reference, key = coupon.key}
    move(promotion, ARGV[2], refund, 'D', 'RefundRecorded', now, 'ALREADY_PAID')
    -- The coupon's own event comes behind; the last reference is the one that has paid.
    coupon.references = coupon.references and reference .. ',' .. coupon.references or reference
    move(promotion, ARGV[2], coupon, 'P', 'CouponPaid', now)
  end
  local reply = answer_coupon(promotion, now, same and 'REPEATED' or 'ALREADY_PAID', coupon)
  if ARGV[5] == 'PROMISED' and not same then  -- the refund waits in front of the coupon's event
    return take_version(promotion, reply, now, coupon.version - 1)
  end
  return reply
end
-- Each payment has a refund of its own on record, and a repeat of one has not another.
if REFUSED[coupon.state] and (not reference or has_reference(coupon, reference)) then
  return answer_coupon(promotion, now, REFUSED[coupon.state], coupon)
end

local honoured = coupon.state == 'G'
if coupon.state == 'R' and promotion.state == 'ON_SALE' and promotion.available > 0
  and active(coupons) < promotion.limit then
  promotion.available = promotion.available - 1
  honoured = true
end
coupon.paid_at = now
add_reference(coupon, reference)
if not honoured then
  local refused = REFUSED[coupon.state] or coupon.state == 'B' and 'COUPON_RELEASED'
    or coupon.state == 'V' and 'REVOKED'
    or promotion.state == 'CANCELLED' and 'CANCELLED' or 'HOLD_EXPIRED'
  local states = {HOLD_EXPIRED = 'D', COUPON_RELEASED = 'E', CANCELLED = 'F', REVOKED = 'W'}
  move(promotion, ARGV[2], coupon, states[refused], 'RefundRecorded', now, refused)
  return answer_coupon(promotion, now, refused, coupon)
end
promotion.sold = promotion.sold + 1
move(promotion, ARGV[2], coupon, 'P', 'CouponPaid', now)
finish_if_sold(promotion, now)
return answer_coupon(promotion, now, 'PAID', coupon)
