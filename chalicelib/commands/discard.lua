-- Take a promotion out again whose creation failed: only while nobody has a coupon of it.
--
-- KEYS, ARGV[1]  see promotion.lua
-- Returns {outcome, {}, {}}
--   DISCARDED  it is gone
--   SELLING    somebody has a coupon already: it stays

local granted = redis.call('HGET', KEYS[1], 'granted')
if granted and granted ~= '0' then
  return {'SELLING', {}, {}}
end
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
return {'DISCARDED', {}, {}}
