-- The groups this worker balances over. A peer that stays in the list keeps its object, and with it its counts and its place.

local clock = require("xlb.clock")
local pick = require("xlb.pick")
local store = require("xlb.store")
local table_ = require("xlb.table")

local _M = {}

local state = ngx.shared.xlb_state
local NEVER = math.huge

local groups = {}
_M.groups = groups

-- When the next peer that failed may be tried again.
_M.next_trial = NEVER
-- Grows with every change of any list.
_M.changes = 0

local made = 0

local function health_key(group, peer)
  return group.name .. ":" .. peer.endpoint
end
_M.health_key = health_key

-- Active checks are of an endpoint, not of a group: the same endpoint checked the same way is checked once.
function _M.check_id(group, peer)
  return group.check_suffix and ngx.md5(peer.endpoint .. group.check_suffix)
end

-- What other workers know of a peer's health.
function _M.refresh_peer(group, peer)
  local key = health_key(group, peer)
  local down = state:get("d:" .. key)
  local bad = down ~= nil or state:get("f:" .. key) ~= nil
  if bad and not peer.bad then
    peer.failed_at = clock()
  end
  peer.bad = bad
  peer.down_until = down or 0
  peer.check_ok = not (peer.check_id and state:get("k:" .. peer.check_id))
end

local function new_peer(row)
  made = made + 1
  return {
    id = row.id,
    address = row.address,
    host = row.host,
    port = row.port,
    endpoint = row.endpoint,
    -- Idle connections are kept under this name: a peer that comes back is another one and gets fresh connections.
    tag = "p" .. made,
    sid = ngx.md5(row.id):sub(1, 16),
    seed = ngx.crc32_long(row.id .. "|" .. row.endpoint),
    credit = 0,
    active = 0,
    others = 0,
    requests = 0,
    failures = 0,
    latency = 0,
    sent_requests = 0,
    sent_failures = 0,
    sent_latency = 0,
    kept = -1e9,
    suspect = false,
    bad = false,
    down_until = 0,
    failed_at = 0,
    trial = false,
    check_ok = true,
  }
end

local function pool(peers, old)
  local equal = true
  for i = 2, #peers do
    if peers[i].weight ~= peers[1].weight then
      equal = false
      break
    end
  end
  local new = { peers = peers, n = #peers, equal = equal, cursor = 0 }
  if new.n == 0 then
    return new
  end
  -- Whoever would have been next among those that are still there is next again.
  if old and old.n > 0 then
    local place = {}
    for i, peer in ipairs(peers) do
      place[peer] = i
    end
    for i = 1, old.n do
      local at = place[old.peers[(old.cursor + i - 1) % old.n + 1]]
      if at then
        new.cursor = at - 1
        return new
      end
    end
  end
  -- Workers do not all begin with the same peer.
  new.cursor = ngx.worker.pid() % new.n
  return new
end

-- Sorts the peers into those that are tried and those that are tried when there is nothing better.
function _M.rebuild(group)
  local now = clock()
  local good, rest = {}, {}
  local next_trial = NEVER
  for _, peer in ipairs(group.peers) do
    peer.trial = false
    if peer.state == "draining" then
      -- Nothing new goes there.
    elseif peer.state == "up" and peer.check_ok and peer.down_until <= now then
      peer.trial = peer.down_until > 0
      good[#good + 1] = peer
    else
      rest[#rest + 1] = peer
      if peer.state == "up" and peer.down_until > now then
        next_trial = math.min(next_trial, peer.down_until)
      end
    end
  end
  group.good = pool(good, group.good)
  group.rest = pool(rest, group.rest)
  group.usable = #good + #rest
  group.next_trial = next_trial
  if next_trial < _M.next_trial then
    _M.next_trial = next_trial
  end
end

-- Peers whose pause is over become candidates again.
function _M.tick(now)
  if now < _M.next_trial then
    return
  end
  _M.next_trial = NEVER
  for _, group in pairs(groups) do
    if group.next_trial <= now then
      _M.rebuild(group)
    elseif group.next_trial < _M.next_trial then
      _M.next_trial = group.next_trial
    end
  end
end

local function apply(row)
  local group = groups[row.name]
  if not group then
    group = { name = row.name, by_id = {}, requests = 0, retries = 0, unserved = 0, buckets = {}, classes = {}, touched = false, sent = {} }
    groups[row.name] = group
  end
  group.version = row.version
  group.algorithm = row.algorithm
  group.tries = row.tries
  group.max_fails = row.max_fails
  group.fail_timeout = row.fail_timeout
  group.cookie = row.cookie
  group.cookie_var = row.cookie and "cookie_" .. row.cookie
  group.pick = pick[row.algorithm]
  local kind, name = row.hash_key:match("^(%a+):?(.*)$")
  group.hash_var = row.algorithm == "hash"
    and (kind == "uri" and "request_uri"
      or kind == "header" and "http_" .. name:lower():gsub("-", "_")
      or kind == "cookie" and "cookie_" .. name
      or "remote_addr")
  group.active = row.active
  local check = row.active
  group.check_suffix = check
    and table.concat({ "", check.type, check.type == "http" and check.path or "", check.interval, check.timeout, check.rise, check.fall }, "|")

  local peers, by_id, by_sid, by_endpoint = {}, {}, {}, {}
  for i, peer_row in ipairs(row.peers) do
    local peer = group.by_id[peer_row.id]
    local known = peer and peer.endpoint == peer_row.endpoint
    if not known then
      peer = new_peer(peer_row)
    end
    peer.weight = peer_row.weight
    peer.state = peer_row.state
    peer.container = peer_row.container
    peer.node = peer_row.node
    peer.json = nil
    local check_id = _M.check_id(group, peer)
    if not known or check_id ~= peer.check_id then
      peer.check_id = check_id
      _M.refresh_peer(group, peer)
    end
    peers[i] = peer
    by_id[peer.id] = peer
    by_sid[peer.sid] = peer
    local same = by_endpoint[peer.endpoint]
    if same then
      same[#same + 1] = peer
    else
      by_endpoint[peer.endpoint] = { peer }
    end
  end
  group.peers, group.by_id, group.by_sid, group.by_endpoint = peers, by_id, by_sid, by_endpoint
  _M.rebuild(group)
end

-- Takes over what the shared dictionary holds for a group now.
function _M.load(name)
  _M.changes = _M.changes + 1
  local version, text = store.get(name)
  if not version then
    groups[name] = nil
    return
  end
  local row, reason = table_.parse(text, name)
  if not row then
    ngx.log(ngx.ERR, "xlb: the list of ", name, " in the dictionary is broken: ", reason)
    return
  end
  apply(row)
  table_.forget()
end

function _M.load_all()
  local there = {}
  for _, name in ipairs(store.names()) do
    there[name] = true
    _M.load(name)
  end
  for name in pairs(groups) do
    if not there[name] then
      _M.load(name)
    end
  end
end

return _M
