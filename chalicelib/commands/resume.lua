-- Take the fence down from a state that turned out to be complete: the store was restarted or
-- replaced, and has forgotten nothing of this promotion.
--
-- KEYS, ARGV[1]  see promotion.lua
-- ARGV[2]        token of the fence
-- ARGV[3]        version that the journal knows: a state below it is stale
-- ARGV[4]        revision that the table knows: an offer below it is stale
-- Returns {outcome, {}, {}}
--   RESUMED  everybody may touch it again
--   STALE    the state is lost or stale; the fence stays
--   SUPERSEDED  another recovery was first

if not holds_fence(ARGV[2]) then
  return {'SUPERSEDED', {}, {}}
end
local found = redis.call('HMGET', KEYS[1], 'state', 'version', 'revision', 'granted')
if not found[1] or tonumber(found[2]) < tonumber(ARGV[3])
  or tonumber(found[3] or 0) < tonumber(ARGV[4]) or lost_customers(found[4]) then
  return {'STALE', {}, {}}
end
redis.call('HDEL', KEYS[1], 'recovering', 'fenced_at', 'timer_at')
return {'RESUMED', {}, {}}
