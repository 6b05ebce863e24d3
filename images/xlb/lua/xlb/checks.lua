-- Active checks. One worker of all makes them (whoever holds the lease), once for each endpoint and way of checking; the others read
-- the outcome.

local clock = require("xlb.clock")
local events = require("xlb.events")
local groups_ = require("xlb.groups")

local _M = {}

local workers = ngx.shared.xlb_workers
local state = ngx.shared.xlb_state

-- Seconds after which a lease that was not renewed is anybody's, and how often its holder renews it.
local LEASE = 1
local RENEW = 0.25
local ROUND = 0.1

local entries = {}
local built_for = -1
local holding = false
local next_lease, next_round = 0, 0

local function lease(pid, now)
  if now < next_lease then
    return
  end
  next_lease = now + RENEW
  local holder, since = (workers:get("checker") or ""):match("^(%d+) (%S+)$")
  if tonumber(holder) == pid or not holder or now - tonumber(since) > LEASE then
    if tonumber(holder) ~= pid and not workers:add("checker_turn", 1, LEASE / 2) then
      return
    end
    workers:set("checker", string.format("%d %.3f", pid, now))
    if not holding then
      holding = true
      entries, built_for = {}, -1
    end
  else
    holding = false
  end
end

local function build(now)
  built_for = groups_.changes
  local wanted = {}
  for _, group in pairs(groups_.groups) do
    for _, peer in ipairs(group.peers) do
      local id = peer.state == "up" and peer.check_id
      if id and not wanted[id] then
        -- Spread over the interval, so that a thousand endpoints are not checked at once.
        wanted[id] = entries[id]
          or {
            id = id,
            check = group.active,
            address = peer.host,
            port = peer.port,
            endpoint = peer.endpoint,
            next = now + math.random() * group.active.interval,
            healthy = not state:get("k:" .. id),
            row = 0,
            running = false,
          }
      end
    end
  end
  for id, entry in pairs(entries) do
    if not wanted[id] then
      entry.gone = true
      state:delete("k:" .. id)
    end
  end
  entries = wanted
end

local function ask_http(socket, entry)
  local _, err = socket:send(
    "GET " .. entry.check.path .. " HTTP/1.1\r\nHost: " .. entry.endpoint .. "\r\nUser-Agent: xlb-check\r\nConnection: close\r\n\r\n"
  )
  if err then
    return false
  end
  local line = socket:receive("*l")
  local status = line and tonumber(line:match("^HTTP/1%.[01] (%d%d%d)"))
  return status ~= nil and status >= 200 and status < 400
end

local function probe(entry)
  local socket = ngx.socket.tcp()
  socket:settimeout(entry.check.timeout)
  local ok = socket:connect(entry.address, entry.port, { pool_size = 1, pool = "xlb-check" })
  if ok and entry.check.type == "http" then
    ok = ask_http(socket, entry)
  end
  socket:close()
  return ok and true or false
end

local function judge(entry, ok)
  if ok == entry.healthy then
    entry.row = 0
    return
  end
  entry.row = entry.row + 1
  if entry.row < (ok and entry.check.rise or entry.check.fall) then
    return
  end
  entry.row = 0
  entry.healthy = ok
  if ok then
    state:delete("k:" .. entry.id)
  else
    state:set("k:" .. entry.id, 1)
  end
  ngx.log(ngx.NOTICE, "xlb: check of ", entry.endpoint, ok and " passes again" or " fails")
  events.push("k " .. entry.id .. " " .. entry.endpoint)
end

local function run(premature, entry)
  if not premature then
    local fine, ok = pcall(probe, entry)
    if not entry.gone then
      judge(entry, fine and ok)
    end
  end
  entry.running = false
end

function _M.tick(pid, now)
  lease(pid, now)
  if not holding or now < next_round then
    return
  end
  next_round = now + ROUND
  if built_for ~= groups_.changes then
    build(now)
  end
  for _, entry in pairs(entries) do
    if entry.next <= now and not entry.running then
      entry.next = math.max(entry.next + entry.check.interval, now)
      entry.running = true
      local ok = ngx.timer.at(0, run, entry)
      if not ok then
        entry.running = false
      end
    end
  end
end

function _M.stop(pid)
  local holder = (workers:get("checker") or ""):match("^(%d+)")
  if tonumber(holder) == pid then
    workers:delete("checker")
  end
  holding = false
end

return _M
