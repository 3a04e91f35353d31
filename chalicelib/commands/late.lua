-- Part of grab: who comes after the end and has no coupon is answered here, after two reads. Most of
-- a crowd does, and the rest of the script is not even set up for them.
--
-- KEYS, ARGV[1]  see promotion.lua
-- ARGV[2]        customer
-- Returns {SOLD_OUT | FINISHED | CANCELLED, {over: 1, rates}, {}}, or leaves `own`, the customer's
-- record, to the script

local own = redis.call('HGET', KEYS[2], ARGV[2])
if not own then
  local over = redis.call('HMGET', KEYS[1], 'closed_as', 'granted', 'recovering')
  if over[1] and not over[3] and not lost_customers(over[2]) then
    return {over[1], rates and {'over', 1, 'rates', rates} or {'over', 1}, {}}
  end
end
