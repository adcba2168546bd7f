-- Ends each of our scripts: prints what wrk measured as one line of JSON, after wrk's own words.
--
-- A script counts what it must not see in `unexpected`, and logins whose password was looked at in `heard`: globals of each
-- thread.

local threads = {}

function setup(thread)
  threads[#threads + 1] = thread
  thread:set("number", #threads)
end

function done(summary, latency, _)
  local errors = summary.errors
  local unexpected, heard = 0, 0
  for _, thread in ipairs(threads) do
    unexpected = unexpected + (thread:get("unexpected") or 0)
    heard = heard + (thread:get("heard") or 0)
  end
  print(string.format(
    '{"seconds":%.6f,"requests":%d,"failed":%d,"not_ok":%d,"unexpected":%d,"heard":%d,"p50_ms":%.4f,"p99_ms":%.4f}',
    summary.duration / 1e6, summary.requests,
    errors.connect + errors.read + errors.write + errors.timeout, errors.status, unexpected, heard,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
