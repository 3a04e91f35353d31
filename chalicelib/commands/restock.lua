-- Add units to a promotion that is not over; before its start this only changes its size.
--
-- KEYS, ARGV[1]  see promotion.lua
-- ARGV[2]        how many
-- ARGV[3]        key of this call, the same when it is sent again
-- ARGV[4]        the most units a promotion may have
-- Returns {outcome, {}, events, timer, now}
--   RESTOCKED, REPEATED           they are there
--   IDEMPOTENCY_KEY_REUSED        the key was used for another number
--   TOO_MANY                      it would have more than a promotion may
--   SOLD_OUT, FINISHED, CANCELLED it is over
--   UNKNOWN                       the store has no such promotion

local promotion = read_promotion()
if not promotion then
  return {'UNKNOWN', {}, {}}
end
local now = now_ms()
advance(promotion, now)
local done = 'restock:' .. ARGV[3]
local before = redis.call('HGET', KEYS[1], done)
if before then
  local added, version = string.match(before, '^(%d+) ?(%d*)$')
  if added ~= ARGV[2] then
    return answer(promotion, now, 'IDEMPOTENCY_KEY_REUSED')
  end
  return take_version(promotion, answer(promotion, now, 'REPEATED'), now, tonumber(version))
end
if promotion.closed_as then
  return answer(promotion, now, promotion.closed_as)
end
local add = tonumber(ARGV[2])
if promotion.stock + add > tonumber(ARGV[4]) then
  return answer(promotion, now, 'TOO_MANY')
end
promotion.stock = promotion.stock + add
promotion.available = promotion.available + add
local revision = redis.call('HINCRBY', KEYS[1], 'revision', 1)
if promotion.state == 'SCHEDULED' then
  redis.call('HSET', KEYS[1], 'stock', promotion.stock, 'available', promotion.available)
else
  local event = record(promotion, 'PromotionRestocked', now)
  append(event, 'added', add)
  append(event, 'requestKey', ARGV[3])
  append(event, 'revision', revision)
end
redis.call('HSET', KEYS[1], done, string.format('%d %d', add, promotion.version))
return answer(promotion, now, 'RESTOCKED')
