-- A worker's own view, asked for by an event and answered by each worker itself.

local cjson = require("cjson.safe")
local clock = require("xlb.clock")
local groups_ = require("xlb.groups")

local _M = {}

local dict = ngx.shared.xlb_scratch
local KEEP_SECONDS = 10

local quote = cjson.encode

local function peer_json(peer, now)
  if not peer.json then
    peer.json = string.format(
      '{"id":%s,"address":%s,"port":%d,"weight":%d,"state":"%s","container":%s,"node":%s,',
      quote(peer.id),
      quote(peer.address),
      peer.port,
      peer.weight,
      peer.state,
      quote(peer.container),
      quote(peer.node)
    )
  end
  -- One whose pause is over is asked again by the next request: without requests it would be shown as left out for ever.
  local healthy = peer.check_ok and peer.down_until <= now
  return string.format(
    '%s"healthy":%s,"active":%d,"requests":%d,"failures":%d}',
    peer.json,
    healthy and "true" or "false",
    peer.active,
    peer.requests,
    peer.failures
  )
end

local function tables()
  local out = {}
  local now = clock()
  for name, group in pairs(groups_.groups) do
    local peers = {}
    for i, peer in ipairs(group.peers) do
      peers[i] = peer_json(peer, now)
    end
    out[#out + 1] = string.format('"%s":{"version":%.0f,"peers":[%s]}', name, group.version, table.concat(peers, ","))
  end
  return "{" .. table.concat(out, ",") .. "}"
end

-- What is in flight: a line for each group with something, `name version place:count,place:count`.
local function loads()
  local out = {}
  for name, group in pairs(groups_.groups) do
    local some = {}
    for i, peer in ipairs(group.peers) do
      if peer.active > 0 then
        some[#some + 1] = i .. ":" .. peer.active
      end
    end
    out[#out + 1] = string.format("%s %.0f %s", name, group.version, table.concat(some, ","))
  end
  return table.concat(out, "\n")
end

local function key(id, pid)
  return "q:" .. id .. ":" .. pid
end

function _M.answer(id, kind, pid)
  if kind == "loads" then
    require("xlb.counters").flush()
  end
  local ok, err = dict:set(key(id, pid), kind == "loads" and loads() or tables(), KEEP_SECONDS)
  if not ok then
    ngx.log(ngx.ERR, "xlb: no room for a dump: ", err)
  end
end

-- The answer of worker `pid`, once.
function _M.take(id, pid)
  local text = dict:get(key(id, pid))
  dict:delete(key(id, pid))
  return text
end

return _M
