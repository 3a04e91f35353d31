-- Fence a promotion whose state is lost, or may have gone back in time: from now on only its
-- recovery may touch it, and everybody else is told that it is unknown. A healthy one stays as it
-- is. A fence of an earlier history of the store is put up anew, because since then it had been
-- taken down.
--
-- KEYS, ARGV[1]  see promotion.lua
-- ARGV[2]        a version of it that must be there by now: a state below it is stale
-- ARGV[3]        token of this fence, if it is new
-- Returns {outcome, {token, since, now}, {}}
--   FENCED   it is, by this call or one before; since when (ms)
--   HEALTHY  its state is there and up to date

local now = now_ms()
local found = redis.call('HMGET', KEYS[1], 'state', 'version', 'recovering', 'history', 'granted')
local same_history = not found[4] or found[4] == history()
if not found[3] and same_history and found[1] and tonumber(found[2]) >= tonumber(ARGV[2])
  and not lost_customers(found[5]) then
  return {'HEALTHY', {'token', '', 'since', now, 'now', now}, {}}
end
if not found[3] or not same_history then
  redis.call('HSET', KEYS[1], 'recovering', ARGV[3], 'fenced_at', now, 'history', history())
  redis.call('PERSIST', KEYS[1])
end
local fence = redis.call('HMGET', KEYS[1], 'recovering', 'fenced_at')
return {'FENCED', {'token', fence[1], 'since', tonumber(fence[2]), 'now', now}, {}}
