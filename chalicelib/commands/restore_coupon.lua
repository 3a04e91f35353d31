-- Give a customer a correct record of a coupon that the journal or the tables know and the store does
-- not: the store had been recovered before the coupon's events arrived. The sale goes on meanwhile.
--
-- A coupon that was granted keeps its unit if one is free and the customer is within the limit. One
-- that must be paid gets a new hold, because nobody could pay what the store did not know. Its number
-- may be another customer's by now; then it gets the next one.
--
-- KEYS, ARGV[1]  see promotion.lua
-- ARGV[2]        customer
-- ARGV[3]        the coupon as coupon.lua writes it, as of its newest known event
-- Returns {outcome, {at}, events, timer, now}; the number that it has by now
--   KNOWN     the store has a record of this coupon; its newest event goes along while it waits, and
--             it is told again if it is older than ARGV[3]. Also of what was paid for and has no unit:
--             the payment counts for the customer's coupon that has the number now
--   REPLACED  its number is another coupon's of the customer, who has no claim by this one
--   RESTORED  it has now; the events say what became of the coupon
--   UNKNOWN   the store has no such promotion

local promotion, coupons, now = read_for(ARGV[2])
if not promotion then
  return {'UNKNOWN', {}, {}}
end
-- Whether the customer has another coupon under this number, which was granted again.
local function is_another(known, coupon)
  if known.key and coupon.key then
    return known.key ~= coupon.key
  end
  return known.at ~= coupon.at
end

local coupon = read_coupon(ARGV[3])
local paid = coupon.state == 'P'
local cancelled = promotion.state == 'CANCELLED' and coupon.state == 'G' and coupon.deadline
local has_claim = (paid or coupon.state == 'G') and not cancelled
local has_room = promotion.available > 0 and active(coupons) < promotion.limit
local known = find(coupons, 'number', coupon.number)
local replaced = known and is_another(known, coupon)
if replaced then
  local same_key = coupon.key and find(coupons, 'key', coupon.key)
  local counts = paid and same_key and same_key.paid_at
    and has_reference(same_key, coupon.references or '')
  if counts or not paid and (same_key or not (has_claim and has_room and coupon.key)) then
    return answer(promotion, now, 'REPLACED')
  end
  if not same_key and has_room and coupon.key then
    known = nil
  end
end
if known then
  if not replaced and known.state == 'G' and coupon.state == 'G' and known.deadline
    and coupon.deadline and coupon.deadline > known.deadline then  -- time that was given back
    known.deadline = coupon.deadline
    move(promotion, ARGV[2], known, 'G', 'CouponExtended', now)
  elseif known.version < coupon.version then  -- the tables may show what is not true any more
    restate(promotion, ARGV[2], known, now)
  end
  local moved = known.moved_to and find_number(coupons, known.moved_to)
  local reply = answer(promotion, now, 'KNOWN', {'at', (moved or known).number})
  reply = take_version(promotion, reply, now, known.version)
  return moved and take_version(promotion, reply, now, moved.version) or reply
end

if cancelled then
  coupon.state = 'R'
elseif has_claim then
  if has_room then
    if coupon.number > promotion.granted then
      promotion.granted = coupon.number
    elseif replaced then  -- nothing can forward to it: its old number is another coupon's
      promotion.granted = promotion.granted + 1
      coupon.number = promotion.granted
    else
      promotion.granted = promotion.granted + 1
      local before = read_coupon(ARGV[3])
      before.moved_to = promotion.granted
      coupons[#coupons + 1] = before
      move(promotion, ARGV[2], before, 'V', 'CouponRevoked', now, 'RENUMBERED')
      before.key = nil  -- it goes with the coupon, so a repeat finds the new number
      coupon.number = promotion.granted
    end
    if not paid and coupon.deadline then
      coupon.deadline = promotion.hold_ms > 0
        and math.max(coupon.deadline, now + promotion.hold_ms) or nil
    end
    promotion.available = promotion.available - 1
    if paid or not coupon.deadline then
      promotion.sold = promotion.sold + 1
    end
    coupons[#coupons + 1] = coupon
    move(promotion, ARGV[2], coupon, coupon.state, paid and 'CouponPaid' or 'CouponGrabbed', now)
    finish_if_sold(promotion, now)
    return answer(promotion, now, 'RESTORED', {'at', coupon.number})
  end
  coupon.state = paid and 'W' or 'V'
end

coupons[#coupons + 1] = coupon
restate(promotion, ARGV[2], coupon, now)
return answer(promotion, now, 'RESTORED', {'at', coupon.number})
