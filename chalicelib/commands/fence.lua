-- Fence a promotion whose state is lost, or may have gone back in time: from now on only its
-- recovery may touch it, and for all others it is unknown. A healthy one stays as it is. A fence of
-- an earlier history of the store is put up anew, because since then it had been taken down.
--
-- KEYS, ARGV[1]  see promotion.lua
-- ARGV[2]        a version of it that must be there by now: a state below it is stale
-- ARGV[3]        token of this fence, if it is new
-- ARGV[4]        why its state is wrong although it looks healthy; "" or none for no doubt. The fence keeps
--                it, so that no later step of the recovery trusts the state.
-- ARGV[5]        up to which version the outbox is in the journal. Then no fence is put up: the one with
--                this token keeps it; "" or none otherwise
-- ARGV[6]        revision that the table knows, if it was read: an offer below it is stale
-- Returns {outcome, {token, since, unserved, now, journaled, doubt}, {}}
--   FENCED   it is, by this call or one before; since when, from when on time is to be given back
--            (ms), up to which version its outbox is in the journal, and the doubt if there is one
--   HEALTHY  its state is there and up to date
--   SUPERSEDED  with ARGV[5]: the fence with this token is down

local FENCE_LIVES_S = 86400

local now, doubt = now_ms(), ARGV[4] or ''
local journaled = ARGV[5] ~= '' and ARGV[5]
local found = redis.call('HMGET', KEYS[1], 'state', 'version', 'recovering', 'history', 'granted',
  'revision')
local same_history = not found[4] or found[4] == history()
if journaled and found[3] ~= ARGV[3] then
  return {'SUPERSEDED', {}, {}}
end
if doubt == '' and not found[3] and same_history and found[1]
  and tonumber(found[2]) >= tonumber(ARGV[2]) and tonumber(found[6] or 0) >= tonumber(ARGV[6] or 0)
  and not lost_customers(found[5]) then
  return {'HEALTHY', {'token', '', 'since', now, 'now', now}, {}}
end
if not found[3] or not same_history then
  -- What the fence of an earlier history was up for is given back as well.
  local before = found[3] and redis.call('HMGET', KEYS[1], 'extended_to', 'fenced_at') or {}
  redis.call('HDEL', KEYS[1], 'doubt', 'journaled', 'extend_ms', 'extend_below',
    'extended_to')
  redis.call('HSET', KEYS[1], 'recovering', ARGV[3], 'fenced_at', refused_since() or now,
    'history', history())
  if before[1] or before[2] then
    redis.call('HSET', KEYS[1], 'extended_to', before[1] or before[2])
  end
end
if found[1] then
  redis.call('PERSIST', KEYS[1])
else  -- a fence around nothing goes away with whoever put it up
  redis.call('EXPIRE', KEYS[1], FENCE_LIVES_S)
end
if doubt ~= '' then
  redis.call('HSET', KEYS[1], 'doubt', doubt)
end
if journaled then
  redis.call('HSET', KEYS[1], 'journaled', journaled)
end
local fence = redis.call('HMGET', KEYS[1], 'recovering', 'fenced_at', 'journaled', 'doubt',
  'extended_to')
-- A clock that was set back must not make anybody wait for the time of before.
if tonumber(fence[2]) > now then
  fence[2] = now
  redis.call('HSET', KEYS[1], 'fenced_at', now)
end
local detail = {'token', fence[1], 'since', tonumber(fence[2]), 'now', now,
  'unserved', math.min(tonumber(fence[5] or fence[2]), now), 'journaled', tonumber(fence[3] or 0)}
append(detail, 'doubt', fence[4])
return {'FENCED', detail, {}}
