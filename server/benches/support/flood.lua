-- POST /login with passwords that are wrong, of a user that is there and of users that are not in turns.
--
-- Who is told to come back later (429, 503) does so after 100 ms, much earlier than it was told.

local attempts, told_off = 0, 0

unexpected = 0

function request()
  attempts = attempts + 1
  local name = attempts % 2 == 0 and "admin" or string.format("nobody-%d-%d", number, attempts)
  local body = string.format('{"username":"%s","password":"wrong-%d"}', name, attempts)
  return wrk.format("POST", "/login", { ["Content-Type"] = "application/json" }, body)
end

function response(status)
  if status == 429 or status == 503 then
    told_off = told_off + 1
  elseif status ~= 401 then
    unexpected = unexpected + 1
  end
end

function delay()
  if told_off == 0 then
    return 0
  end
  told_off = told_off - 1
  return 100
end
