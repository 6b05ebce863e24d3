-- Which peers are left out. Failures of requests count over all workers; the first to see a change writes it and tells the others.

local clock = require("xlb.clock")
local events = require("xlb.events")
local groups = require("xlb.groups")

local _M = {}

local state = ngx.shared.xlb_state

-- Seconds of the first pause; each further one in a row is twice as long, up to the group's own. A container is registered a moment before its
-- process listens: one refused connection then must not cost it the whole pause.
local FIRST_PAUSE = 1

local function pause_of(group, key)
  local downs = state:incr("n:" .. key, 1, 0, group.fail_timeout * 10) or 32
  return math.min(group.fail_timeout, FIRST_PAUSE * 2 ^ math.min(downs - 1, 32))
end

local function tell(group, peer)
  events.push("d " .. group.name .. " " .. peer.endpoint)
end

-- A request to this peer failed. `suspect`: it may only have met a kept connection that the peer had just closed, which says nothing
-- about the peer unless it happens twice in a row.
function _M.failed(group, peer, suspect)
  if suspect and not peer.suspect then
    peer.suspect = true
    return
  end
  peer.failures = peer.failures + 1
  if group.max_fails == 0 then
    return
  end
  local key = groups.health_key(group, peer)
  local count = state:incr("f:" .. key, 1, 0, group.fail_timeout) or group.max_fails
  local was_bad, was_down = peer.bad, peer.down_until > 0
  peer.bad = true
  peer.failed_at = clock()
  if was_down or count >= group.max_fails then
    peer.down_until = peer.failed_at + pause_of(group, key)
    -- Gone after a while even if the peer is never tried again, so that a list that lost it does not fill the dictionary.
    state:set("d:" .. key, peer.down_until, math.max(60, group.fail_timeout * 10))
    state:delete("t:" .. key)
    groups.rebuild(group)
    tell(group, peer)
  elseif not was_bad then
    tell(group, peer)
  end
end

-- A request that began at `since` got an answer from this peer.
function _M.succeeded(group, peer, since)
  peer.suspect = false
  if not peer.bad or since < peer.failed_at then
    return
  end
  local key = groups.health_key(group, peer)
  state:delete("f:" .. key)
  state:delete("n:" .. key)
  state:delete("d:" .. key)
  state:delete("t:" .. key)
  local was_down = peer.down_until > 0
  peer.bad = false
  peer.down_until = 0
  if was_down then
    groups.rebuild(group)
  end
  tell(group, peer)
end

-- The pause of this peer is over: one request of all workers may try it. Whoever does not get the turn leaves it out for another pause.
function _M.take_trial(group, peer)
  local key = "t:" .. groups.health_key(group, peer)
  local now = clock()
  local mine = state:add(key, now, group.fail_timeout)
  if not mine then
    local since = state:get(key)
    if since and now - since > group.fail_timeout then
      state:set(key, now, group.fail_timeout)
      mine = true
    end
  end
  peer.down_until = now + group.fail_timeout
  groups.rebuild(group)
  return mine
end

-- Another worker changed what is known of an endpoint in a group.
function _M.on_passive(name, endpoint)
  local group = groups.groups[name]
  local peers = group and group.by_endpoint[endpoint]
  if not peers then
    return
  end
  for _, peer in ipairs(peers) do
    groups.refresh_peer(group, peer)
  end
  groups.rebuild(group)
end

-- The checker changed its mind about an endpoint.
function _M.on_active(check_id, endpoint)
  for _, group in pairs(groups.groups) do
    local peers = group.by_endpoint[endpoint]
    if peers and peers[1].check_id == check_id then
      for _, peer in ipairs(peers) do
        peer.check_ok = not state:get("k:" .. check_id)
      end
      groups.rebuild(group)
    end
  end
end

return _M
