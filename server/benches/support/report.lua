-- Ends each of our scripts: prints what wrk measured as one line of JSON, after wrk's own words.
--
-- A script counts what it must not see in `unexpected`, a global of each thread.

local threads = {}

function setup(thread)
  threads[#threads + 1] = thread
  thread:set("number", #threads)
end

function done(summary, latency, _)
  local errors = summary.errors
  local unexpected = 0
  for _, thread in ipairs(threads) do
    unexpected = unexpected + (thread:get("unexpected") or 0)
  end
  print(string.format(
    '{"seconds":%.6f,"requests":%d,"failed":%d,"not_ok":%d,"unexpected":%d,"p50_ms":%.4f,"p99_ms":%.4f}',
    summary.duration / 1e6, summary.requests,
    errors.connect + errors.read + errors.write + errors.timeout, errors.status, unexpected,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
