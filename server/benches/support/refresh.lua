-- POST /refresh, each token got by redeeming the one before it.
--
-- The file args[1] holds a refresh token for each connection, and args[2] is the number of threads. A thread cannot tell
-- its connections apart, but it has as many tokens as connections, so one is free whenever a connection is.

local tokens, first, last = {}, 1, 0
local head, redeemed, rehearsed

unexpected = 0

function init(args)
  local line_number = 0
  for token in io.lines(args[1]) do
    line_number = line_number + 1
    if line_number % args[2] == number % args[2] then
      last = last + 1
      tokens[last] = token
    end
  end
  head = "POST /refresh HTTP/1.1\r\nHost: " .. wrk.headers["Host"] .. "\r\nContent-Type: application/json\r\n"
  redeemed = 0
  -- Before it starts, wrk looks at one request of the first thread, and does not send it.
  rehearsed = number ~= 1
end

function request()
  local body = '{"refreshToken":"' .. tokens[first] .. '"}'
  if rehearsed then
    tokens[first] = nil
    first = first + 1
  end
  rehearsed = true
  redeemed = redeemed + 1
  return head .. string.format("Idempotency-Key: bench-%d-%012d\r\nContent-Length: %d\r\n\r\n", number, redeemed, #body)
    .. body
end

function response(status, _, body)
  local successor = status == 200 and string.match(body, '"refreshToken":"([^"]+)"')
  if successor then
    last = last + 1
    tokens[last] = successor
  else
    -- Without a token there is nothing to go on with; a count that is not 0 ends the measurement.
    unexpected = unexpected + 1
    wrk.thread:stop()
  end
end
