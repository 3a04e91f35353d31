-- Note that an operator had a promotion reconciled, and what was found.
--
-- KEYS, ARGV[1]  see promotion.lua
-- ARGV[2]        how many differences
-- ARGV[3]        their kinds, joined by blanks
-- Returns {outcome, {}, events, timer, now}
--   NOTED
--   UNKNOWN  the store has no such promotion, or it is being recovered

local promotion = read_promotion()
if not promotion then
  return {'UNKNOWN', {}, {}}
end
local now = now_ms()
advance(promotion, now)
local event = record(promotion, 'PromotionAudited', now)
append(event, 'differences', tonumber(ARGV[2]))
append(event, 'kinds', ARGV[3])
return answer(promotion, now, 'NOTED')
