-- Begin to build a recovered state: what waits in the outbox goes along, as it is behind the fence.
--
-- KEYS[1..4]  promotion, customers, outbox, holds: see promotion.lua
-- KEYS[5..8]  the same, to be built
-- ARGV[1]     promotion's id
-- ARGV[2]     token of the fence
-- ARGV[3]     time to live of what is built, in seconds
-- Returns {outcome, {}, {}}
--   BEGUN
--   SUPERSEDED  another recovery has taken the fence down

if not holds_fence(ARGV[2]) then
  return {'SUPERSEDED', {}, {}}
end
redis.call('COPY', KEYS[3], KEYS[7], 'REPLACE')
redis.call('EXPIRE', KEYS[7], ARGV[3])
return {'BEGUN', {}, {}}
