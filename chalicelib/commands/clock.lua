-- Part 1 of every script: the clock. It is the store's own, so a sale opens and closes on the
-- millisecond, however wrong the clock of any worker is.
--
-- now_ms() returns epoch milliseconds, a whole number.

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
