-- Take the fence down from a state that turned out to be complete: the store was restarted or
-- replaced, and has forgotten nothing of this promotion.
--
-- Nobody could pay behind the fence, so that time is given back first: the deadline of each hold
-- that was open when the fence went up moves by it. A call moves as many as it may; the caller
-- publishes their events and calls again. The latest deadlines move first, so those that have moved
-- are behind the bound of the next call. What took long, or was interrupted, has another round.
--
-- KEYS, ARGV[1]  see promotion.lua
-- ARGV[2]        token of the fence
-- ARGV[3]        version that the journal knows: a state below it is stale
-- ARGV[4]        revision that the table knows: an offer below it is stale
-- ARGV[5]        how many holds a call may move
-- Returns {outcome, {}, events, timer, now}
--   EXTENDED  some holds have moved: call again
--   RESUMED   everybody may touch it again, by this call or its first sending
--   STALE     the state is lost, stale or doubted; the fence stays
--   SUPERSEDED  another recovery was first

-- So much of the time is not given back: it is what a round takes.
local SLACK_MS = 1000

if not holds_fence(ARGV[2]) then
  return {lifted_as(ARGV[2]) or 'SUPERSEDED', {}, {}}
end
local found = redis.call('HMGET', KEYS[1], 'state', 'version', 'revision', 'granted', 'doubt',
  'fenced_at', 'extend_ms', 'extend_below', 'extended_to')
if not found[1] or tonumber(found[2]) < tonumber(ARGV[3])
  or tonumber(found[3] or 0) < tonumber(ARGV[4]) or lost_customers(found[4]) or found[5] then
  return {'STALE', {}, {}}
end
local now = now_ms()
local promotion = read_promotion(nil, ARGV[2])
if promotion.hold_ms > 0 and promotion.state ~= 'CANCELLED' then
  local from = tonumber(found[9] or found[6])
  local ms = tonumber(found[7]) or math.max(now - from, 0)
  if found[9] and not found[7] and ms <= SLACK_MS then
    ms = 0
  end
  local members = ms > 0 and redis.call('ZREVRANGEBYSCORE', KEYS[4], found[8] or '+inf',
    '(' .. from, 'WITHSCORES', 'LIMIT', 0, ARGV[5]) or {}
  for i = 1, #members, 2 do
    local number, customer = string.match(members[i], '^(%d+) (.+)$')
    local coupon = find(coupons_of(promotion, customer), 'number', tonumber(number))
    if coupon and coupon.state == 'G' then
      coupon.deadline = coupon.deadline + ms
      move(promotion, customer, coupon, 'G', 'CouponExtended', now)
    else
      redis.call('ZREM', KEYS[4], members[i])  -- a hold without a coupon
    end
  end
  if #members > 0 then
    redis.call('HSET', KEYS[1], 'extend_ms', ms, 'extend_below', members[#members])
    local reply = answer(promotion, now, 'EXTENDED')
    reply[4] = 0
    return reply
  end
  if found[7] then  -- the end of a round
    redis.call('HSET', KEYS[1], 'extended_to', from + ms)
    redis.call('HDEL', KEYS[1], 'extend_ms', 'extend_below')
    return {'EXTENDED', {}, {}, 0, now}
  end
end
redis.call('HDEL', KEYS[1], 'recovering', 'fenced_at', 'journaled', 'extend_ms', 'extend_below',
  'extended_to', 'timer_at', 'refused')
redis.call('HSET', KEYS[1], 'lifted', ARGV[2] .. ' RESUMED')
-- An event that came late meanwhile has been asked for, and must still count.
redis.call('HSETNX', KEYS[1], 'rebuild', 'LATE ' .. ARGV[2])
return {'RESUMED', {}, {}}
