-- Note that a promotion's read tables have been rebuilt; not if that was asked for once more meanwhile.
--
-- KEYS, ARGV[1]  see promotion.lua
-- ARGV[2]        what the field `rebuild` was before
-- Returns {outcome, {}, {}}
--   REBUILT  nothing is to be done any more
--   AGAIN    it was asked for again

local wanted = redis.call('HGET', KEYS[1], 'rebuild')
if wanted and wanted ~= ARGV[2] then
  return {'AGAIN', {}, {}}
end
redis.call('HDEL', KEYS[1], 'rebuild')
return {'REBUILT', {}, {}}
