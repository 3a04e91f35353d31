-- The load of one `wrk` run: a stream of requests that differ in nothing but the customer.
--
-- Arguments after `--`: path, promotion, and a word that no other run has.
-- Prints one line at the end: requests, requests refused (status 400 and up), socket errors,
-- and microseconds.

local path, promotion, run
local headers = { ['Content-Type'] = 'application/json' }
local number = 0

function init(args)
  path, promotion, run = args[1], args[2], args[3]
end

function request()
  number = number + 1
  local body = string.format('{"promotionId":"%s","customerId":"%s-%d"}', promotion, run, number)
  return wrk.format('POST', path, headers, body)
end

function done(summary)
  local errors = summary.errors
  print(string.format('load %d %d %d %d', summary.requests, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout, summary.duration))
end
