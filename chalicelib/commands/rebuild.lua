-- Note that a promotion's read tables have to be rebuilt, or that they have been. It stays on record
-- in the promotion until it is done, whatever becomes of the process.
--
-- KEYS, ARGV[1]  see promotion.lua
-- ARGV[2]        WANTED or DONE
-- ARGV[3]        key of the wish; a wish that came meanwhile is not done
-- Returns {outcome, {}, {}}
--   NOTED    it is, by this call or its first sending
--   AGAIN    another rebuild is wanted by now
--   UNKNOWN  the store has no such promotion

if redis.call('HEXISTS', KEYS[1], 'state') == 0 then
  return {'UNKNOWN', {}, {}}
end
if ARGV[2] == 'WANTED' then
  redis.call('HSET', KEYS[1], 'rebuild', ARGV[3])
  return {'NOTED', {}, {}}
end
local wanted = redis.call('HGET', KEYS[1], 'rebuild')
if wanted and wanted ~= ARGV[3] then
  return {'AGAIN', {}, {}}
end
redis.call('HDEL', KEYS[1], 'rebuild')
return {'NOTED', {}, {}}
