-- Admit a customer to a promotion that is on sale: until when a token for them is valid. The token
-- itself is signed by the caller; the store keeps nothing of it.
--
-- Answers what a grab would answer to those whom no token helps: it has not started, it is over.
-- Who holds a coupon is admitted always, so that no winner who asks again is told of an end.
--
-- KEYS, ARGV[1]  see promotion.lua
-- ARGV[2]        customer
-- ARGV[3]        how long a token lives, in milliseconds
-- ARGV[4..]      limits of the buckets, see throttle.lua
-- Returns {outcome, detail, events, timer, now}; the detail has `rates` too where there are buckets
-- and a promotion
--   THROTTLED    retryInMs
--   ADMITTED     expiresAt (ms), at the promotion's end at the latest
--   NOT_STARTED  opensAt (ms)
--   SOLD_OUT, FINISHED, CANCELLED  over: 1; nothing for anybody ever
--   UNKNOWN      the store has no such promotion, or has lost a part of it

local promotion = read_promotion()
if not promotion then
  return {'UNKNOWN', {}, {}}
end
promotion.rates = rates
local now = now_ms()
advance(promotion, now)
local expires_at = now + tonumber(ARGV[3])
if active(coupons_of(promotion, ARGV[2])) > 0 then
  return answer(promotion, now, 'ADMITTED', {'expiresAt', expires_at})
end
if promotion.state == 'SCHEDULED' then
  return answer(promotion, now, 'NOT_STARTED', {'opensAt', promotion.opens_at})
end
if promotion.closed_as then
  return answer(promotion, now, promotion.closed_as, {'over', 1})
end
return answer(promotion, now, 'ADMITTED',
  {'expiresAt', math.min(expires_at, promotion.closes_at)})
