-- Part 4 of every script: the promotion as a state machine that decides and then writes.
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
--                             revision (counts edits and restocks), edits (keys of the newest
--                             edits, each behind a ";"),
--                             restock:<key> ("<added> <version>" of a restock that is done),
--                             closed_as SOLD_OUT | FINISHED | CANCELLED, closed_at (ms) and
--                             closed_version (of the event), once it is over,
--                             retired (see retire.lua),
--                             refused ("<history> <ms>": since when scripts refuse it, see
--                             history.lua),
--                             recovering (fenced: only the recovery may touch it), fenced_at (ms),
--                             doubt (why it can't be resumed), journaled (up to this version the
--                             outbox is in the journal), extend_ms, extend_below, extended_to: see fence.lua,
--                             resume.lua,
--                             lifted ("<key> <outcome>" of the call that took the last fence down),
--                             rebuild (the read tables must still be rebuilt, or with "LATE " only
--                             late events be looked for: for which call),
--                             audits (keys of the newest audits, each behind a ";"),
--                             history (see history.lua; none once it is retired)
-- KEYS[2]  customers  hash    customer -> their coupons, see coupon.lua
-- KEYS[3]  outbox     stream  events decided and not yet published, id = "<version>-0"
-- KEYS[4]  holds      zset    "<number> <customer>" -> deadline (ms) of an unpaid coupon
-- ARGV[1]  promotion's id

-- One broker batch: no call pays for a crowd of overdue holds.
local RELEASES_PER_CALL = 10
-- The longest delay a queue takes; what is due later is armed by a later sweep.
local TIMER_REACH_MS = 900000
-- When a call has left overdue holds behind, a timer goes on with them after this pause.
local BACKLOG_AGAIN_MS = 1000

-- How many keys of earlier calls are remembered, where a call is not a customer's.
local KEYS_REMEMBERED = 100
-- How many waiting events of others an answer takes along: one broker batch.
local RELAYED_PER_CALL = 10
-- How long the keys of a promotion that is over are kept.
local KEPT_S = 604800

-- `own` is the record of the customer who asks, if there is one: then no part can be lost. `fence`
-- is the token of a recovery that works behind its own fence.
local function read_promotion(own, fence)
  local f = redis.call('HMGET', KEYS[1], 'state', 'closed_as', 'version', 'opens_at', 'closes_at',
    'stock', 'available', 'sold', 'granted', 'discount', 'price', 'coupons_per_customer',
    'hold_ms', 'timer_at', 'recovering', 'history', 'admission', 'retired')
  if f[1] and not f[15] and f[16] and f[16] ~= history() then
    refuse_from_now()
    return nil
  end
  if not f[1] or (f[15] and f[15] ~= fence) or (f[16] and f[16] ~= history())
    or (not own and lost_customers(f[9])) then
    return nil
  end
  return {
    state = f[1], closed_as = f[2], version = tonumber(f[3]),
    opens_at = tonumber(f[4]), closes_at = tonumber(f[5]),
    stock = tonumber(f[6]), available = tonumber(f[7]), sold = tonumber(f[8]),
    granted = tonumber(f[9]), discount = f[10], price = f[11],
    limit = tonumber(f[12]), hold_ms = tonumber(f[13]), timer_at = tonumber(f[14]) or 0,
    admission = f[17], retired = f[18],
    events = {}, texts = {}, customers = {}, changed = {}, hold = {}, unhold = {},
  }
end

-- Add one event, with the part that all of them have; returns the flat list, to be appended to.
local function record(promotion, type, now)
  promotion.version = promotion.version + 1
  local event = {
    'type', type, 'promotionId', ARGV[1], 'version', promotion.version, 'at', now,
    'stock', promotion.stock, 'available', promotion.available,
    'held', promotion.stock - promotion.available - promotion.sold, 'sold', promotion.sold,
  }
  promotion.events[#promotion.events + 1] = event
  return event
end

-- Append to `list` what an answer shows of a coupon beside its number, and its events carry.
local function show(promotion, coupon, list)
  append(list, 'discount', promotion.discount)
  append(list, 'grabbedAt', coupon.at)
  append(list, 'price', promotion.price)
  append(list, 'deadline', coupon.deadline)
  append(list, 'paidAt', coupon.paid_at)
  append(list, 'paymentReference', reference_of(coupon))
end

-- Change one coupon's state, with its event.
local function move(promotion, customer, coupon, state, type, now, reason)
  coupon.state = state
  local event = record(promotion, type, now)
  append(event, 'number', coupon.number)
  show(promotion, coupon, event)
  append(event, 'customerId', customer)
  append(event, 'requestKey', coupon.key)
  append(event, 'reason', reason)
  append(event, 'movedTo', coupon.moved_to)
  coupon.version = promotion.version
  promotion.changed[customer] = true
  local member = string.format('%d %s', coupon.number, customer)
  if state == 'G' and coupon.deadline then
    promotion.hold[member] = coupon.deadline
  elseif coupon.deadline then
    promotion.unhold[member] = true
  end
end

-- Tell a coupon again as it is: its newest event may have been overtaken in the read tables.
local function restate(promotion, customer, coupon, now)
  local state = coupon.state
  if state == 'G' then
    move(promotion, customer, coupon, 'G', 'CouponGrabbed', now)
  elseif state == 'P' then
    move(promotion, customer, coupon, 'P', 'CouponPaid', now)
  elseif state == 'V' then
    move(promotion, customer, coupon, 'V', 'CouponRevoked', now,
      coupon.moved_to and 'RENUMBERED' or 'SOLD_TWICE')
  elseif REFUSED[state] then
    move(promotion, customer, coupon, state, 'RefundRecorded', now, REFUSED[state])
  else
    local reason = state == 'B' and 'GIVEN_BACK'
      or promotion.state == 'CANCELLED' and 'CANCELLED' or 'EXPIRED'
    move(promotion, customer, coupon, state, 'CouponReleased', now, reason)
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
  append(record(promotion, type, now), 'reason', closed_as)
  promotion.closed_version = promotion.version
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

-- Up to which deadline holds are overdue.
local function overdue_until(promotion, now)
  return promotion.state == 'CANCELLED' and '+inf' or now
end

local function release_overdue(promotion, now)
  local members = redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', overdue_until(promotion, now),
    'LIMIT', 0, RELEASES_PER_CALL)
  for _, member in ipairs(members) do
    local number, customer = string.match(member, '^(%d+) (.+)$')
    local coupon = find(coupons_of(promotion, customer), 'number', tonumber(number))
    if coupon and coupon.state == 'G' then
      local reason = promotion.state == 'CANCELLED' and 'CANCELLED' or 'EXPIRED'
      release(promotion, customer, coupon, now, reason)
    else
      redis.call('ZREM', KEYS[4], member)  -- a hold without a coupon must not stop the sale
    end
  end
end

-- The restocks so far as an event has them, "<key>=<added>" joined by ";"; nil for none.
local function restocks_as_text()
  local found = {}
  local fields = redis.call('HGETALL', KEYS[1])
  for i = 1, #fields, 2 do
    local key = string.match(fields[i], '^restock:(.+)$')
    if key then
      found[#found + 1] = key .. '=' .. string.match(fields[i + 1], '^%d+')
    end
  end
  table.sort(found)
  return found[1] and table.concat(found, ';')
end

-- Move the promotion to `now`: start what is due, release what is overdue, finish what is past
-- its end. Every script does this first.
local function advance(promotion, now)
  if promotion.state == 'SCHEDULED' and now >= promotion.opens_at then
    promotion.state = 'ON_SALE'
    local event = record(promotion, 'PromotionStarted', now)
    append(event, 'discount', promotion.discount)
    append(event, 'opensAt', promotion.opens_at)
    append(event, 'closesAt', promotion.closes_at)
    append(event, 'couponsPerCustomer', promotion.limit)
    append(event, 'holdSeconds', promotion.hold_ms / 1000)
    append(event, 'price', promotion.price)
    append(event, 'itemId', redis.call('HGET', KEYS[1], 'item_id'))
    append(event, 'admission', promotion.admission == 'token' and 'token')
    append(event, 'revision', tonumber(redis.call('HGET', KEYS[1], 'revision') or 0))
    append(event, 'restocks', restocks_as_text())
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
local function release_own(promotion, coupons, customer, now)
  for _, coupon in ipairs(coupons) do
    if is_overdue(promotion, coupon, now) then
      release(promotion, customer, coupon, now,
        promotion.state == 'CANCELLED' and 'CANCELLED' or 'EXPIRED')
    end
  end
end

-- The promotion as of now with one customer's coupons, for scripts that a holder calls; nil where the
-- store has no such promotion.
local function read_for(customer)
  local own = redis.call('HGET', KEYS[2], customer)
  local promotion = read_promotion(own)
  if not promotion then
    return nil
  end
  local now = now_ms()
  advance(promotion, now)
  local coupons = coupons_of(promotion, customer, own)
  release_own(promotion, coupons, customer, now)
  return promotion, coupons, now
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

-- The text of an event: it is made here, and everybody passes it on as it is.
local function to_json(event)
  local fields = {}
  for i = 1, #event, 2 do
    local value = event[i + 1]
    fields[#fields + 1] = '"' .. event[i] .. '":'
      .. (type(value) == 'number' and string.format('%d', value) or cjson.encode(value))
  end
  return '{' .. table.concat(fields, ',') .. '}'
end

-- The events come first: should the outbox refuse them, nothing else has been changed.
local function write(promotion)
  for i, event in ipairs(promotion.events) do
    promotion.texts[i] = to_json(event)
    redis.call('XADD', KEYS[3], string.format('%d-0', event[6]), 'event', promotion.texts[i])
  end
  redis.call('HSET', KEYS[1], 'state', promotion.state, 'version', promotion.version,
    'stock', promotion.stock, 'available', promotion.available, 'sold', promotion.sold,
    'granted', promotion.granted)
  if promotion.closed_as then
    redis.call('HSET', KEYS[1], 'closed_as', promotion.closed_as)
  end
  if promotion.closed_at then
    redis.call('HSET', KEYS[1], 'closed_at', promotion.closed_at, 'closed_version',
      promotion.closed_version)
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
  if promotion.retired then
    redis.call('EXPIRE', KEYS[3], KEPT_S)
  end
end

-- An entry of the outbox as it is published; one of before has a field for each of the event's.
local function text_of(entry)
  return entry[2][1] == 'event' and entry[2][2] or entry[2]
end

-- Events that wait in the outbox, from version `first` to `last` ("-" and "+" for all).
local function waiting(first, last, most)
  local texts = {}
  for i, entry in ipairs(redis.call('XRANGE', KEYS[3], first, last, 'COUNT', most)) do
    texts[i] = text_of(entry)
  end
  return texts
end

-- Put the start in front, if it waits still: only it has the offer that the events behind it are
-- decided by, so none of them may be on record without it. It is the first that waits, or gone.
local function put_start_first(texts)
  local head = redis.call('XRANGE', KEYS[3], '-', '+', 'COUNT', 1)[1]
  local text = head and text_of(head)
  local is_start = type(text) == 'string' and string.find(text, '"type":"PromotionStarted"', 1, true)
  if is_start and text ~= texts[1] then
    table.insert(texts, 1, text)
  end
  return texts
end

-- A repeat takes its own waiting events along: its first caller may have died before it published,
-- and nobody else would before the next sweep. The same holds for the timer.
local function take_along(promotion, reply, now, texts)
  for _, text in ipairs(reply[3]) do
    texts[#texts + 1] = text
  end
  reply[3] = texts
  if #texts > 0 and reply[4] == 0 and promotion.timer_at > now then
    reply[4] = promotion.timer_at
  end
  return reply
end

-- The same for the one event of a version.
local function take_version(promotion, reply, now, version)
  if not version or version > promotion.version - #promotion.events then
    return reply
  end
  local id = string.format('%d-0', version)
  local texts = waiting(id, id, 1)
  return take_along(promotion, reply, now, #texts > 0 and put_start_first(texts) or texts)
end

-- Whether `key` is one of those in the field, which are joined by ";".
local function is_remembered(field, key)
  local keys = redis.call('HGET', KEYS[1], field) or ''
  return string.find(keys .. ';', ';' .. key .. ';', 1, true) ~= nil
end

local function remember(field, key)
  local keys = (redis.call('HGET', KEYS[1], field) or '') .. ';' .. key
  local _, count = string.gsub(keys, ';', '')
  if count > KEYS_REMEMBERED then
    keys = string.gsub(keys, '^;[^;]*', '')
  end
  redis.call('HSET', KEYS[1], field, keys)
end

-- Write what was decided and return {outcome, detail, events, timer, now}. `timer` is when the
-- caller has to have this promotion touched again (ms), 0 for never.
--
-- Nobody watches a promotion that is retired, so nothing is decided there: the caller has it
-- watched first (see watch.lua) and calls again.
local function answer(promotion, now, outcome, detail)
  if promotion.retired == '1' and #promotion.events > 0 then
    return {'RETIRED', {}, {}, 0, now}
  end
  if promotion.rates then  -- see throttle.lua
    detail = detail or {}
    append(detail, 'rates', promotion.rates)
  end
  if #promotion.events == 0 then
    return {outcome, detail or {}, {}, 0, now}
  end
  write(promotion)
  local texts = put_start_first(promotion.texts)
  return {outcome, detail or {}, texts, timer_to_arm(promotion, now), now}
end

-- Answer with a coupon. A coupon that was changed just now is in its event, so the detail has no
-- more than its number; else its newest event goes along, if it still waits.
local function answer_coupon(promotion, now, outcome, coupon)
  local detail = {'number', coupon.number, 'state', SHOWN[coupon.state] or 'REFUND_DUE'}
  if #promotion.events > 0 and coupon.version > promotion.version - #promotion.events then
    return answer(promotion, now, outcome, detail)
  end
  show(promotion, coupon, detail)
  return take_version(promotion, answer(promotion, now, outcome, detail), now, coupon.version)
end
