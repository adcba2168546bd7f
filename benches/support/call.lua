-- GET of the path in the first line of the file args[1], with the `Authorization` header in its second, if there is one:
-- the one is the proxy's key, the other the token, and neither belongs into the list of processes. Ends by printing what
-- wrk measured as one line of JSON.

function init(args)
  local file = assert(io.open(args[1]))
  wrk.path = assert(file:read("*l"))
  wrk.headers["Authorization"] = file:read("*l")
  file:close()
end

function done(summary, latency, _)
  local errors = summary.errors
  print(string.format(
    '{"seconds":%.6f,"requests":%d,"failed":%d,"p50_ms":%.4f}',
    summary.duration / 1e6, summary.requests,
    errors.connect + errors.read + errors.write + errors.timeout + errors.status, latency:percentile(50) / 1e3))
end
