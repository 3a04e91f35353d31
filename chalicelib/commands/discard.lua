-- Take a promotion out again whose creation failed: only while nobody has a coupon of it, and nobody
-- has published its start since.
--
-- KEYS, ARGV[1]  see promotion.lua
-- Returns {outcome, {}, {}}
--   DISCARDED  it is gone
--   SELLING    it has begun: it stays

local found = redis.call('HMGET', KEYS[1], 'granted', 'version')
local published = tonumber(found[2] or 0) > redis.call('XLEN', KEYS[3])
if (found[1] and found[1] ~= '0') or published then
  return {'SELLING', {}, {}}
end
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
return {'DISCARDED', {}, {}}
