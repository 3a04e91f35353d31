-- Part 2 of every script: the promotion as a state machine that decides and then writes.
--
-- A script reads the promotion, advances it to now, decides, and answers. Until the answer
-- nothing is written, because the store does not roll back. The answer appends the events to
-- the outbox in the same run as the change: a caller that dies after it has lost nothing.
--
-- KEYS[1]  promotion  hash    state SCHEDULED | ON_SALE | FINISHED | CANCELLED, version,
--                             opens_at and closes_at (ms), stock, available, sold, granted,
--                             discount, price (or none), coupons_per_customer, hold_ms,
--                             timer_at (ms: when the armed timer is due), item_id (or none),
--                             admission ("token": grabs need one; none: open),
--                             revision (counts edits), edited_by (key of the last edit),
--                             restock:<key> (how many a restock that is done has added),
--                             closed_as SOLD_OUT | FINISHED | CANCELLED and closed_at (ms),
--                             once it is over,
--                             recovering (fenced: nobody but the recovery may touch it) and
--                             fenced_at (ms), history (see `history`; none once it is retired)
-- KEYS[2]  customers  hash    customer -> their coupons, see `write_coupon`
-- KEYS[3]  outbox     stream  events decided and not yet published, id = "<version>-0"
-- KEYS[4]  holds      zset    "<number> <customer>" -> deadline (ms) of an unpaid coupon
-- ARGV[1]  promotion's id

-- One broker batch: no call pays for a crowd of overdue holds.
local RELEASES_PER_CALL = 10
-- The longest delay a queue takes; what is due later is armed by a later sweep.
local TIMER_REACH_MS = 900000
-- When a call has left overdue holds behind, a timer goes on with them after this pause.
local BACKLOG_AGAIN_MS = 1000

-- True when somebody was granted a coupon and nobody is known to have one: a part was evicted.
local function lost_customers(granted)
  return granted and granted ~= '0' and redis.call('EXISTS', KEYS[2]) == 0
end

-- Which history of its data the store is in: a new one begins with every restart and with every
-- fail-over, and only then can writes have been forgotten. So what was written in an earlier one
-- is not trusted until a recovery has compared it with the journal. "" where it is not told.
local function history()
  local told = redis.pcall('INFO', 'replication')
  return type(told) == 'string' and string.match(told, 'master_replid:(%x+)') or ''
end

-- True for the recovery that put up the fence. One that a snapshot has brought back, and that had
-- been taken down before, is nobody's.
local function holds_fence(token)
  local fence = redis.call('HMGET', KEYS[1], 'recovering', 'history')
  return fence[1] == token and fence[2] == history()
end

-- `own` is the record of the customer who asks, if there is one: then no part can be lost.
local function read_promotion(own)
  local f = redis.call('HMGET', KEYS[1], 'state', 'closed_as', 'version', 'opens_at', 'closes_at',
    'stock', 'available', 'sold', 'granted', 'discount', 'price', 'coupons_per_customer',
    'hold_ms', 'timer_at', 'recovering', 'history', 'admission')
  if not f[1] or f[15] or (f[16] and f[16] ~= history())
    or (not own and lost_customers(f[9])) then
    return nil
  end
  return {
    state = f[1], closed_as = f[2], version = tonumber(f[3]),
    opens_at = tonumber(f[4]), closes_at = tonumber(f[5]),
    stock = tonumber(f[6]), available = tonumber(f[7]), sold = tonumber(f[8]),
    granted = tonumber(f[9]), discount = f[10], price = f[11],
    limit = tonumber(f[12]), hold_ms = tonumber(f[13]), timer_at = tonumber(f[14]) or 0,
    admission = f[17],
    events = {}, customers = {}, changed = {}, hold = {}, unhold = {},
  }
end

-- A coupon in the store: "number version at state [deadline paid_at reference key]", `*` for
-- none; a customer's coupons are joined by ";". State: G grabbed, P paid, R released at its
-- deadline, B given back, V revoked by a recovery; D, E, F, W: a refund is due, for the reason in
-- REFUSED. The version is that of the coupon's newest event. `chalicelib/commands/fold.py` writes
-- the same when it recovers a promotion.
local COUPON = {'number', 'version', 'at', 'state', 'deadline', 'paid_at', 'reference', 'key'}
local SHOWN = {
  G = 'GRABBED', P = 'PAID', R = 'RELEASED', B = 'RELEASED',
  V = 'REVOKED', D = 'REFUND_DUE', E = 'REFUND_DUE', F = 'REFUND_DUE', W = 'REFUND_DUE',
}
-- Why a payment was refused, by the state that tells it; and the reverse.
local REFUSED = {D = 'HOLD_EXPIRED', E = 'COUPON_RELEASED', F = 'CANCELLED', W = 'REVOKED'}
local REFUND = {HOLD_EXPIRED = 'D', COUPON_RELEASED = 'E', CANCELLED = 'F', REVOKED = 'W'}

local function write_coupon(coupon)
  local parts, last = {}, 0
  for i, name in ipairs(COUPON) do
    local value = coupon[name] or '*'
    parts[i] = type(value) == 'number' and string.format('%d', value) or value
    last = coupon[name] and i or last
  end
  return table.concat(parts, ' ', 1, last)
end

local function read_coupon(text)
  local coupon, i = {}, 1
  for part in string.gmatch(text, '%S+') do
    if part ~= '*' then
      coupon[COUPON[i]] = i <= 3 and tonumber(part) or part
    end
    i = i + 1
  end
  coupon.deadline = tonumber(coupon.deadline)
  return coupon
end

-- A customer's coupons, read once per run.
local function coupons_of(promotion, customer, text)
  local coupons = promotion.customers[customer]
  if not coupons then
    coupons = {}
    text = text or redis.call('HGET', KEYS[2], customer) or ''
    for entry in string.gmatch(text, '[^;]+') do
      coupons[#coupons + 1] = read_coupon(entry)
    end
    promotion.customers[customer] = coupons
  end
  return coupons
end

local function find(coupons, name, value)
  for _, coupon in ipairs(coupons) do
    if coupon[name] == value then
      return coupon
    end
  end
end

-- How many coupons count towards the customer's limit.
local function active(coupons)
  local count = 0
  for _, coupon in ipairs(coupons) do
    if coupon.state == 'G' or coupon.state == 'P' then
      count = count + 1
    end
  end
  return count
end

local function append(list, name, value)
  if value then
    list[#list + 1] = name
    list[#list + 1] = value
  end
end

-- Add one event; `fields` is a flat list of what this type has beside the common part.
local function record(promotion, type, now, fields)
  promotion.version = promotion.version + 1
  local event = {
    'type', type, 'promotionId', ARGV[1], 'version', promotion.version, 'at', now,
    'stock', promotion.stock, 'available', promotion.available,
    'held', promotion.stock - promotion.available - promotion.sold, 'sold', promotion.sold,
  }
  for _, field in ipairs(fields) do
    event[#event + 1] = field
  end
  promotion.events[#promotion.events + 1] = event
end

-- The coupon as an answer shows it and as its events carry it: all there is to know of it.
local function show(promotion, coupon)
  local shown = {'number', coupon.number, 'discount', promotion.discount, 'grabbedAt', coupon.at}
  append(shown, 'price', promotion.price)
  append(shown, 'deadline', coupon.deadline)
  append(shown, 'paidAt', tonumber(coupon.paid_at))
  append(shown, 'paymentReference', coupon.reference)
  return shown
end

-- Change one coupon's state, with its event.
local function move(promotion, customer, coupon, state, type, now, reason)
  coupon.state = state
  local fields = show(promotion, coupon)
  append(fields, 'customerId', customer)
  append(fields, 'requestKey', coupon.key)
  append(fields, 'reason', reason)
  record(promotion, type, now, fields)
  coupon.version = promotion.version
  promotion.changed[customer] = true
  local member = string.format('%d %s', coupon.number, customer)
  if state == 'G' and coupon.deadline then
    promotion.hold[member] = coupon.deadline
  elseif coupon.deadline then
    promotion.unhold[member] = true
  end
end

local function release(promotion, customer, coupon, now, reason)
  promotion.available = promotion.available + 1
  move(promotion, customer, coupon, reason == 'GIVEN_BACK' and 'B' or 'R', 'CouponReleased', now,
    reason)
end

local function close(promotion, now, type, closed_as)
  promotion.state = type == 'PromotionCancelled' and 'CANCELLED' or 'FINISHED'
  promotion.closed_as = closed_as
  promotion.closed_at = now
  record(promotion, type, now, {'reason', closed_as})
end

local function finish_if_sold(promotion, now)
  if promotion.state == 'ON_SALE' and promotion.sold == promotion.stock then
    close(promotion, now, 'PromotionFinished', 'SOLD_OUT')
  end
end

-- True for a coupon whose unit goes back: its deadline has come, or the sale was cancelled.
local function is_overdue(promotion, coupon, now)
  return coupon.state == 'G' and coupon.deadline
    and (coupon.deadline <= now or promotion.state == 'CANCELLED')
end

local function release_overdue(promotion, now)
  local until_ms = promotion.state == 'CANCELLED' and '+inf' or now
  local members = redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', until_ms,
    'LIMIT', 0, RELEASES_PER_CALL)
  for _, member in ipairs(members) do
    local number, customer = string.match(member, '^(%d+) (.+)$')
    local coupon = find(coupons_of(promotion, customer), 'number', tonumber(number))
    local reason = promotion.state == 'CANCELLED' and 'CANCELLED' or 'EXPIRED'
    release(promotion, customer, coupon, now, reason)
  end
end

-- Move the promotion to `now`: start what is due, release what is overdue, finish what is past
-- its end. Every script does this first.
local function advance(promotion, now)
  if promotion.state == 'SCHEDULED' and now >= promotion.opens_at then
    promotion.state = 'ON_SALE'
    local item = redis.call('HGET', KEYS[1], 'item_id')
    local offer = {
      'discount', promotion.discount,
      'opensAt', promotion.opens_at, 'closesAt', promotion.closes_at,
      'couponsPerCustomer', promotion.limit, 'holdSeconds', promotion.hold_ms / 1000,
    }
    append(offer, 'price', promotion.price)
    append(offer, 'itemId', item)
    append(offer, 'admission', promotion.admission == 'token' and 'token')
    record(promotion, 'PromotionStarted', now, offer)
  end
  if promotion.hold_ms > 0 then
    release_overdue(promotion, now)
  end
  finish_if_sold(promotion, now)
  if promotion.state == 'ON_SALE' and now >= promotion.closes_at then
    close(promotion, now, 'PromotionFinished', 'FINISHED')
  end
end

-- The customer's own overdue coupons, which may be behind ten of others.
local function release_own(promotion, customer, now)
  for _, coupon in ipairs(coupons_of(promotion, customer)) do
    if is_overdue(promotion, coupon, now) then
      release(promotion, customer, coupon, now,
        promotion.state == 'CANCELLED' and 'CANCELLED' or 'EXPIRED')
    end
  end
end

-- When a timer has to touch the promotion next, or 0 if one is armed already or none is needed.
local function timer_to_arm(promotion, now)
  -- Only a new hold, or a cancellation, can be due before the timer that is armed.
  if promotion.timer_at > now and not next(promotion.hold) and promotion.state ~= 'CANCELLED' then
    return 0
  end
  local due = nil
  if promotion.state == 'SCHEDULED' then
    due = promotion.opens_at
  elseif promotion.state == 'ON_SALE' then
    due = promotion.closes_at
  end
  if promotion.hold_ms > 0 then
    local first = redis.call('ZRANGE', KEYS[4], 0, 0, 'WITHSCORES')[2]
    due = first and math.min(tonumber(first), due or math.huge) or due
    if first and promotion.state == 'CANCELLED' then
      due = now
    end
  end
  if due and due <= now then
    due = now + BACKLOG_AGAIN_MS
  end
  local armed = promotion.timer_at > now and promotion.timer_at or math.huge
  if not due or due >= armed or due - now > TIMER_REACH_MS then
    return 0
  end
  redis.call('HSET', KEYS[1], 'timer_at', due)
  return due
end

-- The events come first: should the outbox refuse them, nothing else has been changed.
local function write(promotion)
  for _, event in ipairs(promotion.events) do
    redis.call('XADD', KEYS[3], string.format('%d-0', event[6]), unpack(event))
  end
  redis.call('HSET', KEYS[1], 'state', promotion.state, 'version', promotion.version,
    'stock', promotion.stock, 'available', promotion.available, 'sold', promotion.sold,
    'granted', promotion.granted)
  if promotion.closed_as then
    redis.call('HSET', KEYS[1], 'closed_as', promotion.closed_as)
  end
  if promotion.closed_at then
    redis.call('HSET', KEYS[1], 'closed_at', promotion.closed_at)
  end
  for customer in pairs(promotion.changed) do
    local entries = {}
    for i, coupon in ipairs(promotion.customers[customer]) do
      entries[i] = write_coupon(coupon)
    end
    redis.call('HSET', KEYS[2], customer, table.concat(entries, ';'))
  end
  for member, deadline in pairs(promotion.hold) do
    redis.call('ZADD', KEYS[4], deadline, member)
  end
  for member in pairs(promotion.unhold) do
    redis.call('ZREM', KEYS[4], member)
  end
end

-- Write what was decided and return {outcome, detail, events, timer, now}. `timer` is when the
-- caller has to have this promotion touched again (ms), 0 for never.
local function answer(promotion, now, outcome, detail)
  if promotion.rates then  -- see throttle.lua
    detail = detail or {}
    append(detail, 'rates', promotion.rates)
  end
  if #promotion.events == 0 then
    return {outcome, detail or {}, {}, 0, now}
  end
  write(promotion)
  return {outcome, detail or {}, promotion.events, timer_to_arm(promotion, now), now}
end

-- Answer with a coupon. Its newest event, if it still waits in the outbox, goes along: it may
-- be the caller's retry after a crash, and nobody else would publish before the next sweep.
local function answer_coupon(promotion, now, outcome, coupon)
  local detail = show(promotion, coupon)
  append(detail, 'state', SHOWN[coupon.state])
  local reply = answer(promotion, now, outcome, detail)
  local id = string.format('%d-0', coupon.version)
  if #reply[3] == 0 then
    local waiting = redis.call('XRANGE', KEYS[3], id, id)[1]
    reply[3] = {waiting and waiting[2]}
  end
  return reply
end
