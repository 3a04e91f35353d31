-- Let a retired promotion be decided about again: its row in the table has the sweep watch it by now.
-- Its keys go on expiring; the sweep prolongs them while something waits.
--
-- KEYS, ARGV[1]  see promotion.lua
-- Returns {outcome, {}, {}}
--   WATCHED  it is, by this call or one before
--   UNKNOWN  the store has no such promotion

local promotion = read_promotion()
if not promotion then
  return {'UNKNOWN', {}, {}}
end
if promotion.retired then
  redis.call('HSET', KEYS[1], 'retired', 'watched', 'history', history())
  redis.call('EXPIRE', KEYS[1], KEPT_S)
  redis.call('EXPIRE', KEYS[2], KEPT_S)
end
return {'WATCHED', {}, {}}
