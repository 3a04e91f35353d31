-- Part 3 of the scripts that a crowd calls: a bucket per customer and one per address, charged
-- before anything else is read. A refused call costs the store less than a served one.
--
-- A bucket holds one number: when it will be full again, in microseconds of the store's clock. Each
-- call moves that on by one interval, and a call that would move it further than the burst allows
-- is refused and moves nothing. (This is the virtual scheduling of ITU-T I.371, "GCRA"; it admits
-- exactly what a token bucket of the same rate and burst admits.) The key lives until the bucket is
-- full, so whoever stops asking is forgotten within burst / rate seconds.
--
-- KEYS[5..]  a bucket each, string; none where nothing is throttled
--
-- within_limits(first, decide) is the reply of decide(), or {'THROTTLED', {retryInMs}, {}} where
-- one of the buckets refuses: then none is charged. ARGV[first..] has two numbers for each bucket,
-- the interval of its rate (microseconds per call) and its burst (calls). The detail of the reply
-- gets `rates`, a list {left, fullInMs, ...} in the order of the buckets.

local function charge(first)
  local now_us = now_ms() * 1000
  local full_at, rates, wait_us = {}, {}, 0
  for i = 1, #KEYS - 4 do
    local interval = tonumber(ARGV[first + 2 * i - 2])
    local most = interval * tonumber(ARGV[first + 2 * i - 1])
    local at = tonumber(redis.call('GET', KEYS[i + 4]) or 0)
    -- Never beyond an empty bucket, also after the clock or the limit went back.
    full_at[i] = math.max(math.min(at, now_us + most), now_us) + interval
    wait_us = math.max(wait_us, full_at[i] - now_us - most)
  end
  for i = 1, #full_at do
    local interval = tonumber(ARGV[first + 2 * i - 2])
    local most = interval * tonumber(ARGV[first + 2 * i - 1])
    local ahead = full_at[i] - now_us
    if wait_us > 0 then
      ahead = ahead - interval
    else
      redis.call('SET', KEYS[i + 4], string.format('%.0f', full_at[i]),
        'PX', math.ceil(ahead / 1000))
    end
    rates[2 * i - 1] = math.max(0, math.floor((most - ahead) / interval))
    rates[2 * i] = math.ceil(ahead / 1000)
  end
  return rates, wait_us > 0 and math.ceil(wait_us / 1000) or nil
end

local function within_limits(first, decide)
  if not KEYS[5] then
    return decide()
  end
  local rates, retry_in_ms = charge(first)
  local reply = retry_in_ms and {'THROTTLED', {'retryInMs', retry_in_ms}, {}} or decide()
  append(reply[2], 'rates', rates)
  return reply
end
