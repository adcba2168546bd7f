-- GET with the `Authorization` header that the file args[1] holds.

function init(args)
  local file = assert(io.open(args[1]))
  wrk.headers["Authorization"] = assert(file:read("*l"))
  file:close()
end
