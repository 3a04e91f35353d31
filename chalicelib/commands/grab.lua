-- Grant one coupon to one customer: at most `stock` in all, one to each.
--
-- The customer's own coupon is looked up first, so a repeat gets the same coupon whatever has
-- become of the promotion. A loser is refused after two reads, and nothing is stored.
--
-- KEYS, ARGV[1]  see promotion.lua
-- ARGV[2]        customer
-- Returns {outcome, detail, events}; detail and events are flat lists of names and values
--   REPEATED     the coupon of before; its event, if it still waits in the outbox
--   GRANTED      the coupon; the events decided
--   NOT_STARTED  opensAt and now (ms); none
--   SOLD_OUT, FINISHED  none; the event, if this call noticed the end
--   UNKNOWN      none; the store has no such promotion, or has lost a part of it

local function coupon(promotion, number, at)
  return {'number', number, 'state', 'GRABBED', 'discount', promotion.discount, 'grabbedAt', at}
end

local own = redis.call('HGET', KEYS[2], ARGV[2])
local promotion = read_promotion()
if not promotion then
  return {'UNKNOWN', {}, {}}
end
if own then
  local number, version, at = string.match(own, '(%d+) (%d+) (%d+)')
  local id = version .. '-0'
  local waiting = redis.call('XRANGE', KEYS[3], id, id)
  return {'REPEATED', coupon(promotion, number, at), waiting[1] and {waiting[1][2]} or {}}
end
if promotion.closed_as then
  return {promotion.closed_as, {}, {}}
end

local now = now_ms()
advance(promotion, now)
if promotion.state == 'SCHEDULED' then
  return {'NOT_STARTED', {'opensAt', promotion.opens_at, 'now', now}, {}}
end
if promotion.closed_as then
  commit(promotion)
  return {promotion.closed_as, {}, promotion.events}
end

if promotion.granted > 0 and redis.call('EXISTS', KEYS[2]) == 0 then
  return {'UNKNOWN', {}, {}}
end

promotion.available = promotion.available - 1
promotion.granted = promotion.granted + 1
record(promotion, 'CouponGrabbed', now, {
  'customerId', ARGV[2], 'number', promotion.granted, 'discount', promotion.discount,
})
local version = promotion.version
if promotion.available == 0 then
  finish(promotion, now, 'SOLD_OUT')
end
redis.call('HSET', KEYS[2], ARGV[2],
  string.format('%d %d %d', promotion.granted, version, now))
commit(promotion)
return {'GRANTED', coupon(promotion, promotion.granted, now), promotion.events}
