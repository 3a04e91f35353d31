-- Note that an operator had a promotion reconciled, and what was found.
--
-- KEYS, ARGV[1]  see promotion.lua
-- ARGV[2]        how many differences
-- ARGV[3]        their kinds, joined by blanks
-- ARGV[4]        key of this call, the same when it is sent again
-- Returns {outcome, {}, events, timer, now}
--   NOTED
--   UNKNOWN  the store has no such promotion, or it is being recovered

local promotion = read_promotion()
if not promotion then
  return {'UNKNOWN', {}, {}}
end
local now = now_ms()
advance(promotion, now)
if is_remembered('audits', ARGV[4]) then
  local reply = answer(promotion, now, 'NOTED')
  return take_along(promotion, reply, now, waiting('-', '+', RELAYED_PER_CALL))
end
local event = record(promotion, 'PromotionAudited', now)
append(event, 'differences', tonumber(ARGV[2]))
append(event, 'kinds', ARGV[3])
local reply = answer(promotion, now, 'NOTED')
if reply[1] == 'NOTED' then
  remember('audits', ARGV[4])
end
return reply
