-- Move a promotion to now when nobody else does: start it, release its overdue holds, finish it.
-- The one look that a sweep takes at a promotion: it says what else there is to do.
--
-- KEYS, ARGV[1]  see promotion.lua
-- ARGV[2]        a timer that is due within so many ms is to be sent once more, although it is armed; or none
-- Returns {outcome, detail, events, timer, now}; where nothing was decided, the events are the
-- oldest that wait in the outbox
--   SCHEDULED, ON_SALE              its state, still open
--   SOLD_OUT, FINISHED, CANCELLED   how it ended
--   UNKNOWN                         the store has no such promotion
-- The detail: version, revision, waiting (events in the outbox), retired ("1" or "watched"; see
-- retire.lua), rebuild (there if the read tables must still be rebuilt), backlog (there if more holds
-- are overdue than one call releases).

local promotion = read_promotion()
if not promotion then
  return {'UNKNOWN', {}, {}}
end
local now = now_ms()
advance(promotion, now)
local reply = answer(promotion, now, promotion.closed_as or promotion.state)
if reply[4] == 0 and reply[1] ~= 'RETIRED' then
  reply[4] = timer_to_arm(promotion, now)  -- makes up for a timer that got lost
end
if reply[4] == 0 and promotion.timer_at > now
  and promotion.timer_at - now < tonumber(ARGV[2] or 0) then
  reply[4] = promotion.timer_at  -- its message may have got lost
end
local count = redis.call('XLEN', KEYS[3])
if #reply[3] == 0 and count > 0 then
  reply[3] = waiting('-', '+', RELAYED_PER_CALL)
end
local more = redis.call('HMGET', KEYS[1], 'revision', 'rebuild')
local detail = {'version', promotion.version, 'revision', tonumber(more[1] or 0), 'waiting', count}
append(detail, 'retired', promotion.retired)
append(detail, 'rebuild', more[2])
if promotion.hold_ms > 0 and redis.call('ZCOUNT', KEYS[4], '-inf', overdue_until(promotion, now)) > 0 then
  append(detail, 'backlog', 1)
end
reply[2] = detail
return reply
