-- One request: which peer it goes to, and what is learned when it ends. This is the hot path: no tables are made for a request that
-- meets no trouble, and no shared dictionary is touched.

local balancer = require("ngx.balancer")
local base = require("resty.core.base")
local clock = require("xlb.clock")
local ffi = require("ffi")
local groups_ = require("xlb.groups")
local health = require("xlb.health")

local _M = {}

local groups = groups_.groups
local var = ngx.var
local get_request = base.get_request
local cast, intptr = ffi.cast, ffi.typeof("intptr_t")
local set_current_peer = balancer.set_current_peer
local set_more_tries = balancer.set_more_tries
local enable_keepalive = balancer.enable_keepalive
local get_last_failure = balancer.get_last_failure
local crc32 = ngx.crc32_long

-- Seconds an idle connection is kept: shorter than the shortest of common servers (Node.js: 5), or requests meet closed connections.
local IDLE_SECONDS = 4
local IDLE_REQUESTS = 10000

local NO_PEER = "unix:/run/xlb/503.sock"

-- Upper bounds of the latency buckets, seconds.
local BOUNDS = { 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10 }
_M.BOUNDS = BOUNDS

-- By the address of nginx's request, because `ngx.ctx` is lost at an internal redirect and with it the count of what is in flight. Addresses
-- come again and again, so an entry stays for the next request there: put in and taken out each time, the table would be built anew every
-- few requests. An entry without a group belongs to no request.
local requests = {}
local kept, MOST_KEPT = 0, 16384

-- Requests of this worker that are at a peer.
_M.in_flight = 0

local function new_request(key)
  local request = { group = false, peer = false, tried = false, since = 0 }
  requests[key] = request
  kept = kept + 1
  return request
end

local function release(key, request)
  request.group, request.peer, request.tried = false, false, false
  if kept > MOST_KEPT then
    requests[key] = nil
    kept = kept - 1
  end
end

local function leave(request)
  local peer = request.peer
  if peer then
    peer.active = peer.active - 1
    request.group.touched = true
    request.peer = false
    _M.in_flight = _M.in_flight - 1
  end
end

local function hash_of(group)
  local text = var[group.hash_var]
  return crc32(text and text ~= "" and text or var.remote_addr)
end

-- `peer` was picked, but whether this request may try it is to be asked first; or nobody was picked.
local function choose_slowly(group, tried, key, peer)
  while peer do
    if not peer.trial or health.take_trial(group, peer) then
      return peer
    end
    peer = group.pick(group.good, tried, key)
  end
  return group.pick(group.rest, tried, key)
end

-- No loop here: with one in it LuaJIT would not compile the whole way of a request as one trace.
local function choose(group, tried)
  local key = group.hash_var and hash_of(group)
  local peer = group.pick(group.good, tried, key)
  if peer and not peer.trial then
    return peer
  end
  return choose_slowly(group, tried, key, peer)
end

local function sticky(group)
  local sid = var[group.cookie_var]
  local peer = sid and group.by_sid[sid]
  -- A client of a draining peer stays until the peer leaves the list.
  if peer and peer.state ~= "down" and peer.check_ok and peer.down_until == 0 then
    return peer
  end
  return nil
end

local function set_cookie(group, peer)
  var.xlb_cookie = group.cookie .. "=" .. peer.sid .. "; Path=/; HttpOnly; SameSite=Lax" .. (var.scheme == "https" and "; Secure" or "")
end

-- The attempt failed although the connection stood and nothing had come back, soon after a request that went well: perhaps a kept
-- connection at its end.
local function was_suspect(request, peer, status)
  if status ~= 502 or request.since - peer.kept > IDLE_SECONDS + 1 then
    return false
  end
  local times = var.upstream_connect_time
  return times ~= nil and times:sub(-5) == "0.000"
end

local function first_attempt(key)
  local request = requests[key]
  if request then
    -- Sent to another place by an internal redirect.
    leave(request)
  end
  local group = groups[var.xlb_group]
  if not group then
    return nil
  end
  local peer
  if group.cookie then
    peer = sticky(group)
    if not peer then
      peer = choose(group, nil)
      if peer then
        set_cookie(group, peer)
      end
    end
  else
    peer = choose(group, nil)
  end
  if not peer then
    group.unserved = group.unserved + 1
    return nil
  end
  request = request or new_request(key)
  request.group = group
  request.tried = false
  local more = group.tries
  if more > group.usable then
    more = group.usable
  end
  if peer.state == "draining" then
    more = more + 1
  end
  if more > 1 then
    set_more_tries(more - 1)
  end
  return request, peer
end

local function next_attempt(request, status)
  local group, peer = request.group, request.peer
  leave(request)
  health.failed(group, peer, was_suspect(request, peer, status))
  group.retries = group.retries + 1
  local tried = request.tried or {}
  request.tried = tried
  tried[peer] = true
  local next_peer = choose(group, tried)
  if next_peer then
    if group.cookie then
      set_cookie(group, next_peer)
    end
    return next_peer, true
  end
  -- nginx grants one more attempt when a kept connection failed. With nobody left untried it goes to the same peer, by a connection
  -- of its own.
  if not tried.again then
    tried.again = true
    return peer, false
  end
  return nil
end

function _M.balance()
  local key = tonumber(cast(intptr, get_request()))
  local failure, status = get_last_failure()
  local request, peer, keep
  if not failure then
    request, peer = first_attempt(key)
    keep = true
  else
    request = requests[key]
    if request and request.peer then
      peer, keep = next_attempt(request, status)
    end
  end
  if not peer then
    if failure then
      -- Busy: nginx gives up with the failure it had.
      return ngx.exit(-3)
    end
    return set_current_peer(NO_PEER)
  end
  local ok, err = set_current_peer(peer.host, peer.port, peer.tag)
  if not ok then
    ngx.log(ngx.ERR, "xlb: cannot use ", peer.endpoint, ": ", err)
    return ngx.exit(-1)
  end
  if keep then
    enable_keepalive(IDLE_SECONDS, IDLE_REQUESTS)
  end
  local group = request.group
  request.peer = peer
  request.since = clock()
  peer.active = peer.active + 1
  peer.requests = peer.requests + 1
  group.touched = true
  _M.in_flight = _M.in_flight + 1
  var.xlb_peer = peer.id
end

local function bucket(seconds)
  if seconds <= 0.005 then
    return 1
  end
  for i = 2, #BOUNDS do
    if seconds <= BOUNDS[i] then
      return i
    end
  end
  return #BOUNDS + 1
end

function _M.log()
  local key = tonumber(cast(intptr, get_request()))
  local request = requests[key]
  local group = request and request.group
  if not group then
    return
  end
  local peer = request.peer
  local status = ngx.status
  local class = status - status % 100
  group.requests = group.requests + 1
  group.classes[class] = (group.classes[class] or 0) + 1
  if peer then
    leave(request)
    local failed = false
    if status == 502 or status == 504 then
      local header_time = var.upstream_header_time
      failed = not header_time or header_time:sub(-1) == "-"
    end
    if failed then
      health.failed(group, peer, was_suspect(request, peer, status))
    elseif status ~= 499 then
      local now = clock()
      local took = now - request.since
      peer.kept = now
      peer.latency = peer.latency + took
      local b = bucket(took)
      group.buckets[b] = (group.buckets[b] or 0) + 1
      if peer.bad or peer.suspect then
        health.succeeded(group, peer, request.since)
      end
    end
  end
  release(key, request)
end

return _M
