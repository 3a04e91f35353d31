-- Build the outbox of a recovered state: what waits behind the fence goes along, and then the events of
-- the recovery, in order and in pieces. What is there already is not added again, so a piece may be
-- sent twice.
--
-- KEYS[1..4]  promotion, customers, outbox, holds: see promotion.lua
-- KEYS[5..8]  the same, to be built
-- ARGV[1]     promotion's id
-- ARGV[2]     token of the fence
-- ARGV[3]     time to live of what is built, in seconds
-- ARGV[4..]   id and text of each event of this piece
-- Returns {outcome, {}, {}}
--   BEGUN
--   SUPERSEDED  another recovery has taken the fence down

if not holds_fence(ARGV[2]) then
  return {'SUPERSEDED', {}, {}}
end
if redis.call('EXISTS', KEYS[7]) == 0 then
  redis.call('COPY', KEYS[3], KEYS[7])
end
local newest = redis.call('XREVRANGE', KEYS[7], '+', '-', 'COUNT', 1)[1]
local last = newest and tonumber(string.match(newest[1], '^%d+')) or 0
for i = 4, #ARGV, 2 do
  if tonumber(string.match(ARGV[i], '^%d+')) > last then
    redis.call('XADD', KEYS[7], ARGV[i], 'event', ARGV[i + 1])
  end
end
redis.call('EXPIRE', KEYS[7], ARGV[3])
return {'BEGUN', {}, {}}
