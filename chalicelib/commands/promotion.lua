-- Part 2 of every script: the promotion as a state machine that decides and then writes.
--
-- A script reads the promotion, advances it to now, decides, and commits. Until commit
-- nothing is written, because the store does not roll back. commit appends the events to the
-- outbox in the same run as the change: a caller that dies after it has lost nothing.
--
-- KEYS[1]  promotion  hash    state SCHEDULED | ON_SALE | FINISHED, version, opens_at and
--                             closes_at (ms), stock, available, granted, discount,
--                             closed_as SOLD_OUT | FINISHED (once closed: the answer to a grab)
-- KEYS[2]  customers  hash    customer -> "number version at" of their coupon (at in ms)
-- KEYS[3]  outbox     stream  events decided and not yet published, id = "<version>-0"
-- ARGV[1]  promotion's id

local function read_promotion()
  local f = redis.call('HMGET', KEYS[1], 'state', 'closed_as', 'version', 'opens_at', 'closes_at',
    'stock', 'available', 'granted', 'discount')
  if not f[1] then
    return nil
  end
  return {
    state = f[1], closed_as = f[2], version = tonumber(f[3]),
    opens_at = tonumber(f[4]), closes_at = tonumber(f[5]),
    stock = tonumber(f[6]), available = tonumber(f[7]), granted = tonumber(f[8]),
    discount = f[9], events = {},
  }
end

-- Add one event; `fields` is a flat list of what this type has beside the common part.
local function record(promotion, type, now, fields)
  promotion.version = promotion.version + 1
  local event = {
    'type', type, 'promotionId', ARGV[1], 'version', promotion.version, 'at', now,
    'stock', promotion.stock, 'available', promotion.available, 'held', 0,
    'sold', promotion.stock - promotion.available,
  }
  for _, field in ipairs(fields) do
    event[#event + 1] = field
  end
  promotion.events[#promotion.events + 1] = event
end

local function finish(promotion, now, reason)
  promotion.state = 'FINISHED'
  promotion.closed_as = reason
  record(promotion, 'PromotionFinished', now, {'reason', reason})
end

-- Move the promotion to `now`: start what is due, finish what is past its end.
local function advance(promotion, now)
  if promotion.state == 'SCHEDULED' and now >= promotion.opens_at then
    promotion.state = 'ON_SALE'
    local terms = redis.call('HMGET', KEYS[1], 'coupons_per_customer', 'hold_seconds')
    record(promotion, 'PromotionStarted', now, {
      'discount', promotion.discount,
      'opensAt', promotion.opens_at, 'closesAt', promotion.closes_at,
      'couponsPerCustomer', terms[1], 'holdSeconds', terms[2],
    })
  end
  if promotion.state == 'ON_SALE' and now >= promotion.closes_at then
    finish(promotion, now, 'FINISHED')
  end
end

-- Write the promotion and append its events, if it has any; without events nothing changed.
local function commit(promotion)
  if #promotion.events == 0 then
    return
  end
  redis.call('HSET', KEYS[1], 'state', promotion.state, 'version', promotion.version,
    'available', promotion.available, 'granted', promotion.granted)
  if promotion.closed_as then
    redis.call('HSET', KEYS[1], 'closed_as', promotion.closed_as)
  end
  for _, event in ipairs(promotion.events) do
    redis.call('XADD', KEYS[3], string.format('%d-0', event[6]), unpack(event))
  end
end
