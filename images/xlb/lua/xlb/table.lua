-- A group's table as it comes from outside: decoded and checked field by field (controllers/xlb/schema.ts, GroupTable). Whatever is
-- not understood is refused with a reason; fields that are not known are left out.

local cjson = require("cjson.safe")
local address = require("xlb.address")

local _M = {}

local json = cjson.new()
json.decode_max_depth(16)
json.decode_invalid_numbers(false)

local MAX_PEERS = 20000
-- The largest integer that a double holds without a gap.
local MAX_VERSION = 9007199254740991

local ALGORITHMS = { round_robin = true, least_conn = true, hash = true }
local STATES = { up = true, draining = true, down = true }

function _M.group_name(text)
  return #text <= 48 and text:match("^[a-z0-9][a-z0-9-]*$") ~= nil and text:sub(-1) ~= "-"
end

local function integer(value, low, high)
  return type(value) == "number" and value % 1 == 0 and value >= low and value <= high
end

local function printable(value, most)
  return type(value) == "string" and #value <= most and not value:find("[^\32-\126]")
end

local function show(value)
  if type(value) == "string" then
    return '"' .. value:sub(1, 40):gsub("[^\32-\126]", "?") .. '"'
  end
  return type(value) == "number" and tostring(value) or type(value)
end

local function array(value)
  if type(value) ~= "table" then
    return false
  end
  local n = 0
  for key in pairs(value) do
    if type(key) ~= "number" then
      return false
    end
    n = n + 1
  end
  return n == #value
end

local function optional(value)
  if value == cjson.null then
    return nil
  end
  return value
end

local function fail(where, what, value)
  error({ reason = where .. " " .. what .. ", not " .. show(value) }, 0)
end

local function want_integer(object, key, low, high, default)
  local value = optional(object[key])
  if value == nil and default then
    return default
  end
  if not integer(value, low, high) then
    fail(key, string.format("must be an integer from %d to %d", low, high), value)
  end
  return value
end

local function want_hash_key(value)
  if value == nil or value == "ip" or value == "uri" then
    return value or "ip"
  end
  if type(value) ~= "string" or #value > 80 then
    fail("hashKey", "must be ip, uri, header:NAME or cookie:NAME", value)
  end
  local kind, name = value:match("^(%a+):([A-Za-z0-9_-]+)$")
  if not ((kind == "header" and not name:find("_")) or kind == "cookie") or #name > 64 then
    fail("hashKey", "must be ip, uri, header:NAME or cookie:NAME", value)
  end
  return value
end

local function want_check(value)
  value = optional(value)
  if value == nil then
    return nil
  end
  if type(value) ~= "table" then
    fail("active", "must be an object", value)
  end
  local kind = optional(value.type) or "tcp"
  if kind ~= "tcp" and kind ~= "http" then
    fail("active.type", "must be tcp or http", kind)
  end
  local path = optional(value.path) or "/"
  if type(path) ~= "string" or #path > 512 or not path:match("^/[A-Za-z0-9._~/-]*$") then
    fail("active.path", "must be a plain path", path)
  end
  return {
    type = kind,
    path = path,
    interval = want_integer(value, "intervalMs", 200, 300000, 2000) / 1000,
    timeout = want_integer(value, "timeoutMs", 50, 60000, 1000),
    rise = want_integer(value, "rise", 1, 100, 2),
    fall = want_integer(value, "fall", 1, 100, 2),
  }
end

local function want_peer(value, number, ids)
  local where = "peers[" .. number - 1 .. "]"
  if type(value) ~= "table" then
    fail(where, "must be an object", value)
  end
  if not printable(value.id, 512) or value.id == "" then
    fail(where .. ".id", "must be a text of 1 to 512 printable characters", value.id)
  end
  if ids[value.id] then
    fail(where .. ".id", "must not be there twice", value.id)
  end
  ids[value.id] = true
  local host = type(value.address) == "string" and address.host(value.address)
  if not host then
    fail(where .. ".address", "must be an IP address of a host", value.address)
  end
  if not integer(value.port, 1, 65535) then
    fail(where .. ".port", "must be an integer from 1 to 65535", value.port)
  end
  if not integer(value.weight, 1, 1000) then
    fail(where .. ".weight", "must be an integer from 1 to 1000", value.weight)
  end
  if not STATES[value.state] then
    fail(where .. ".state", "must be up, draining or down", value.state)
  end
  local container, node = optional(value.container) or "", optional(value.node) or ""
  if not printable(container, 256) then
    fail(where .. ".container", "must be a text of at most 256 printable characters", container)
  end
  if not printable(node, 256) then
    fail(where .. ".node", "must be a text of at most 256 printable characters", node)
  end
  return {
    id = value.id,
    address = value.address,
    host = host,
    port = value.port,
    endpoint = host .. ":" .. value.port,
    weight = value.weight,
    state = value.state,
    container = container,
    node = node,
  }
end

local function check(text, name)
  local raw, err = json.decode(text)
  if raw == nil then
    error({ reason = "not JSON: " .. tostring(err) }, 0)
  end
  if type(raw) ~= "table" or array(raw) and #raw > 0 then
    fail("the body", "must be an object", raw)
  end
  if raw.name ~= name then
    fail("name", "must be " .. show(name), raw.name)
  end
  if not ALGORITHMS[raw.algorithm or "round_robin"] then
    fail("algorithm", "must be round_robin, least_conn or hash", raw.algorithm)
  end
  local cookie = optional(raw.stickyCookie)
  if cookie ~= nil and (type(cookie) ~= "string" or #cookie > 64 or not cookie:match("^[A-Za-z0-9_-]+$")) then
    fail("stickyCookie", "must be a name of letters, digits, - and _", cookie)
  end
  if not array(raw.peers) then
    fail("peers", "must be a list", raw.peers)
  end
  if #raw.peers > MAX_PEERS then
    fail("peers", "must be at most " .. MAX_PEERS, #raw.peers)
  end
  local table_ = {
    name = name,
    version = want_integer(raw, "version", 1, MAX_VERSION),
    algorithm = raw.algorithm or "round_robin",
    hash_key = want_hash_key(optional(raw.hashKey)),
    cookie = cookie,
    tries = want_integer(raw, "tries", 1, 10, 3),
    max_fails = want_integer(raw, "maxFails", 0, 100, 1),
    fail_timeout = want_integer(raw, "failTimeoutMs", 100, 600000, 10000) / 1000,
    active = want_check(raw.active),
    peers = {},
  }
  local ids = {}
  for i, peer in ipairs(raw.peers) do
    table_.peers[i] = want_peer(peer, i, ids)
  end
  return table_
end

-- The worker that checked a table for the control interface is about to take the same text from the dictionary.
local last_text, last_row

-- The checked table of group `name`, or nil and the reason.
function _M.parse(text, name)
  if text == last_text and last_row.name == name then
    return last_row
  end
  local ok, result = pcall(check, text, name)
  if ok then
    last_text, last_row = text, result
    return result
  end
  return nil, type(result) == "table" and result.reason or tostring(result)
end

function _M.forget()
  last_text, last_row = nil, nil
end

return _M
