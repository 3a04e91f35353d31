-- Part 2 of every script: whether what the store has of a promotion can be believed. All of it has
-- to be there, and in this history of the store.
--
-- KEYS  see promotion.lua

-- True when somebody was granted a coupon and nobody is known to have one: a part was evicted.
local function lost_customers(granted)
  return granted and granted ~= '0' and redis.call('EXISTS', KEYS[2]) == 0
end

-- Which history of its data the store is in: a new one begins with every restart and with every
-- fail-over, and only then can writes have been forgotten. So what was written in an earlier one
-- is not trusted until a recovery has compared it with the journal. "" where it is not told.
local function history()
  local told = redis.pcall('INFO', 'replication')
  local at = type(told) == 'string' and string.find(told, 'master_replid:', 1, true)
  return at and string.match(told, '^%x+', at + 14) or ''
end

-- Since when nobody is served in this history: from the first call that came, before any fence.
local function refused_since()
  local refused = redis.call('HGET', KEYS[1], 'refused') or ''
  local where, at = string.match(refused, '^(%x*) (%d+)$')
  return where == history() and tonumber(at) or nil
end

local function refuse_from_now()
  if not refused_since() then
    redis.call('HSET', KEYS[1], 'refused', string.format('%s %d', history(), now_ms()))
  end
end

-- True for the recovery that put up the fence. A fence restored from a snapshot belongs to no
-- recovery.
local function holds_fence(token)
  local fence = redis.call('HMGET', KEYS[1], 'recovering', 'history')
  return fence[1] == token and fence[2] == history()
end

-- How the call of this key took a fence down before: the client library may send it twice.
local function lifted_as(key)
  local lifted = redis.call('HGET', KEYS[1], 'lifted')
  return lifted and string.match(lifted, '^' .. key .. ' (.+)$')
end
