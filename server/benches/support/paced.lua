-- After bearer.lua: each connection pauses 5 to 15 ms before a request. This is what a user feels, not what a server can do.

local pauses = 0

function delay()
  pauses = pauses + 1
  return 5 + pauses * 7 % 11
end
