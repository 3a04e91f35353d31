-- Part of the scripts that a crowd calls: a bucket per customer and one per address, charged before
-- anything else is read or set up. A refused call costs the store less than a served one.
--
-- A bucket holds one number: when it will be full again, in microseconds of the store's clock. Each
-- call moves that on by one interval, and a call that would move it further than the burst allows
-- is refused and moves nothing. (This is the virtual scheduling of ITU-T I.371, "GCRA"; it admits
-- exactly what a token bucket of the same rate and burst admits.) The key lives until the bucket is
-- full, so whoever stops asking is forgotten within burst / rate seconds.
--
-- All buckets are charged, or none. This part is no function, because making one costs each call
-- of those who throttle nothing.
--
-- KEYS[5..]  a bucket each, string; none where nothing is throttled
-- ARGV       at the end two numbers for each bucket: the interval of its rate (microseconds per
--            call), and its burst (calls)
-- Returns {'THROTTLED', {retryInMs, rates}, {}}, or leaves `rates` to the script for its detail:
-- a list {left, fullInMs, ...} in the order of the buckets, nil where there are none

local rates
if KEYS[5] then
  local buckets = #KEYS - 4
  local first = #ARGV - 2 * buckets
  local now_us = now_ms() * 1000
  local full_at, wait_us = redis.call('MGET', unpack(KEYS, 5)), 0
  for i = 1, buckets do
    local interval = ARGV[first + 2 * i - 1]
    local whole_us = interval * ARGV[first + 2 * i]
    local at = tonumber(full_at[i] or 0)
    -- Never beyond an empty bucket, also after the clock or the limit went back.
    if at > now_us + whole_us then
      at = now_us + whole_us
    elseif at < now_us then
      at = now_us
    end
    full_at[i] = at + interval
    if full_at[i] - now_us - whole_us > wait_us then
      wait_us = full_at[i] - now_us - whole_us
    end
  end
  rates = {}
  for i = 1, buckets do
    local interval = ARGV[first + 2 * i - 1]
    local ahead = full_at[i] - now_us
    if wait_us > 0 then
      ahead = ahead - interval
    else
      redis.call('SET', KEYS[i + 4], string.format('%.0f', full_at[i]),
        'PX', math.ceil(ahead / 1000))
    end
    rates[2 * i - 1] = math.floor((interval * ARGV[first + 2 * i] - ahead) / interval)
    rates[2 * i] = math.ceil(ahead / 1000)
  end
  if wait_us > 0 then
    return {'THROTTLED', {'retryInMs', math.ceil(wait_us / 1000), 'rates', rates}, {}}
  end
end
