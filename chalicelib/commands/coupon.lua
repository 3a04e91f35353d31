-- Part 3 of every script: coupons, as the store keeps them and as answers and events show them.
--
-- A coupon is "number version at state [deadline paid_at references key moved_to]", `*` for none; a
-- customer's coupons are joined by ";". The version is that of the coupon's newest event. State: G
-- grabbed, P paid, R released at its deadline, B given back, V revoked by a recovery; D, E, F, W: a
-- refund is due, for the reason in REFUSED. `references` are those of all its payments, joined by
-- ",", the newest last. A coupon with `moved_to` has got that number instead. The file
-- `chalicelib/commands/fold.py` writes the same when it recovers a promotion.
--
-- KEYS  see promotion.lua

local SHOWN = {G = 'GRABBED', P = 'PAID', R = 'RELEASED', B = 'RELEASED', V = 'REVOKED'}
-- Why a payment was refused, by the state that tells it: what the others are shown as.
local REFUSED = {D = 'HOLD_EXPIRED', E = 'COUPON_RELEASED', F = 'CANCELLED', W = 'REVOKED'}
local PARTS = '^(%S+) (%S+) (%S+) (%S+) ?(%S*) ?(%S*) ?(%S*) ?(%S*) ?(%S*)$'

local function write_coupon(coupon)
  local text = string.format('%d %d %d %s', coupon.number, coupon.version, coupon.at, coupon.state)
  if not (coupon.deadline or coupon.paid_at or coupon.key or coupon.moved_to) then
    return text
  end
  local more = string.format(' %s %s %s %s %s',
    coupon.deadline and string.format('%d', coupon.deadline) or '*',
    coupon.paid_at and string.format('%d', coupon.paid_at) or '*',
    coupon.references or '*', coupon.key or '*',
    coupon.moved_to and string.format('%d', coupon.moved_to) or '*')
  return text .. string.match(more, '^(.-)[ *]*$')
end

local function known(part)
  return part ~= '' and part ~= '*' and part or nil
end

local function read_coupon(text)
  local number, version, at, state, deadline, paid_at, references, key, moved_to
    = string.match(text, PARTS)
  return {
    number = tonumber(number), version = tonumber(version), at = tonumber(at), state = state,
    deadline = tonumber(deadline), paid_at = tonumber(paid_at),
    references = known(references), key = known(key), moved_to = tonumber(moved_to),
  }
end

-- The reference of the newest payment.
local function reference_of(coupon)
  return coupon.references and string.match(coupon.references, '[^,]+$')
end

-- Whether a payment of this reference is on record for the coupon.
local function has_reference(coupon, reference)
  return string.find(',' .. (coupon.references or '') .. ',', ',' .. reference .. ',', 1, true)
end

local function add_reference(coupon, reference)
  if reference and not has_reference(coupon, reference) then
    coupon.references = coupon.references and coupon.references .. ',' .. reference or reference
  end
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

-- The customer's coupon of a number; a coupon that got another number is found by both.
local function find_number(coupons, number)
  local coupon = find(coupons, 'number', number)
  while coupon and coupon.moved_to do
    coupon = find(coupons, 'number', coupon.moved_to)
  end
  return coupon
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
