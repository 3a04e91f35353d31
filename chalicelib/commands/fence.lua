-- Fence a promotion whose state is lost or has gone back in time: from now on only its recovery
-- may touch it, and everybody else is told that it is unknown. A healthy one stays as it is.
--
-- KEYS, ARGV[1]  see promotion.lua
-- ARGV[2]        a version of it that must be there by now: a state below it is stale
-- ARGV[3]        token of this fence, if it is new
-- Returns {outcome, {token, since, now}, {}}
--   FENCED   it is, by this call or one before; since when (ms)
--   HEALTHY  its state is there and up to date

local now = now_ms()
local found = redis.call('HMGET', KEYS[1], 'state', 'version', 'recovering', 'fenced_at')
if not found[3] then
  if found[1] and tonumber(found[2]) >= tonumber(ARGV[2]) then
    return {'HEALTHY', {'token', '', 'since', now, 'now', now}, {}}
  end
  redis.call('HSET', KEYS[1], 'recovering', ARGV[3], 'fenced_at', now)
  redis.call('HDEL', KEYS[1], 'closed_as')
  redis.call('PERSIST', KEYS[1])
end
local fence = redis.call('HMGET', KEYS[1], 'recovering', 'fenced_at')
return {'FENCED', {'token', fence[1], 'since', tonumber(fence[2]), 'now', now}, {}}
