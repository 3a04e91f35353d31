-- Give an unpaid coupon back: its unit can be sold again in this very instant.
--
-- KEYS, ARGV[1]  see promotion.lua
-- ARGV[2]        customer
-- ARGV[3]        number of the coupon
-- Returns {outcome, detail, events, timer, now}; the detail is the coupon, where there is one
--   RELEASED        it is given back
--   REPEATED        it was released before, by the customer or at its deadline
--   ALREADY_PAID    too late
--   REFUND_DUE      it was paid after its end; a refund is on record
--   REVOKED         the store had forgotten it and it is another's now
--   NOT_RETURNABLE  without a hold a grab is final
--   UNKNOWN_COUPON  not this customer's
--   UNKNOWN         the store has no such promotion

local promotion, coupons, now = read_for(ARGV[2])
if not promotion then
  return {'UNKNOWN', {}, {}}
end
local coupon = find_number(coupons, tonumber(ARGV[3]))
if not coupon then
  return answer(promotion, now, 'UNKNOWN_COUPON')
end
if REFUSED[coupon.state] then
  return answer_coupon(promotion, now, 'REFUND_DUE', coupon)
end
if coupon.state == 'P' then
  return answer_coupon(promotion, now, 'ALREADY_PAID', coupon)
end
if coupon.state == 'V' then
  return answer_coupon(promotion, now, 'REVOKED', coupon)
end
if coupon.state ~= 'G' then
  return answer_coupon(promotion, now, 'REPEATED', coupon)
end
if not coupon.deadline then
  return answer_coupon(promotion, now, 'NOT_RETURNABLE', coupon)
end
release(promotion, ARGV[2], coupon, now, 'GIVEN_BACK')
return answer_coupon(promotion, now, 'RELEASED', coupon)
