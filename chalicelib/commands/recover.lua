-- Put a recovered state in the place of the fenced one, all of it in one step.
--
-- The state was built beside it, under four keys of its own. Another recovery of the same promotion
-- finds the fence gone and gives way, so live state is never overwritten. The read tables have to be
-- rebuilt after this; that stays on record in the promotion until it is done.
--
-- KEYS[1..4]  promotion, customers, outbox, holds: see promotion.lua
-- KEYS[5..8]  the same, recovered
-- ARGV[1]     promotion's id
-- ARGV[2]     token of the fence
-- ARGV[3]     key of this call, the same when it is sent again
-- Returns {outcome, {}, {}}
--   RECOVERED   it is in place, by this call or its first sending
--   SUPERSEDED  another recovery was first; the built state is thrown away

local mine = holds_fence(ARGV[2])
for i = 1, 4 do
  if mine then
    redis.call('DEL', KEYS[i])
    if redis.call('EXISTS', KEYS[i + 4]) == 1 then
      redis.call('RENAME', KEYS[i + 4], KEYS[i])
      redis.call('PERSIST', KEYS[i])
    end
  else
    redis.call('DEL', KEYS[i + 4])
  end
end
if mine then
  redis.call('HSET', KEYS[1], 'history', history(), 'rebuild', ARGV[3],
    'lifted', ARGV[3] .. ' RECOVERED')
  return {'RECOVERED', {}, {}}
end
return {lifted_as(ARGV[3]) or 'SUPERSEDED', {}, {}}
