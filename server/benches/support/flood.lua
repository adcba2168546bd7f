-- POST /login with passwords that are wrong. Each name is tried once, so the throttle lets all of them through to the
-- hashes (this machine's own address is not counted as a network): what turns them away is the queue, when it is full.
--
-- Who is told to come back later (429, 503) does so after 50 to 150 ms, much earlier than it was told, and not in step with
-- all others: two hundred answers in the same millisecond are not what two hundred clients ask for.

local attempts, told_off = 0, 0
-- Names of an earlier run have failed before.
local run = tostring({}):match("0x(%x+)") .. os.time()

unexpected = 0
heard = 0

function request()
  attempts = attempts + 1
  local name = string.format("nobody-%d-%d-%s", number, attempts, run)
  local body = string.format('{"username":"%s","password":"wrong-%d"}', name, attempts)
  return wrk.format("POST", "/login", { ["Content-Type"] = "application/json" }, body)
end

function response(status)
  if status == 429 or status == 503 then
    told_off = told_off + 1
  elseif status == 401 then
    heard = heard + 1
  else
    unexpected = unexpected + 1
  end
end

function delay()
  if told_off == 0 then
    return 0
  end
  told_off = told_off - 1
  return math.random(50, 150)
end
