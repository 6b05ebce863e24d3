-- Counters that outlive a worker: what was added since the last time goes to the shared dictionary.

local groups_ = require("xlb.groups")
local request = require("xlb.request")

local _M = {}

local dict = ngx.shared.xlb_counters

local function add(key, delta)
  if delta ~= 0 then
    dict:incr(key, delta, 0)
  end
end

local function flush_group(group)
  local sent = group.sent
  local function value(key, now)
    local before = sent[key] or 0
    if now ~= before then
      sent[key] = now
      add("g:" .. group.name .. ":" .. key, now - before)
    end
  end
  value("retries", group.retries)
  value("unserved", group.unserved)
  for class, count in pairs(group.classes) do
    value("class" .. class, count)
  end
  for i = 1, #request.BOUNDS + 1 do
    value("bucket" .. i, group.buckets[i] or 0)
  end
  for _, peer in ipairs(group.peers) do
    if peer.requests ~= peer.sent_requests or peer.failures ~= peer.sent_failures or peer.latency ~= peer.sent_latency then
      local prefix = "p:" .. group.name .. ":" .. peer.endpoint
      add(prefix .. ":r", peer.requests - peer.sent_requests)
      add(prefix .. ":f", peer.failures - peer.sent_failures)
      add(prefix .. ":l", peer.latency - peer.sent_latency)
      peer.sent_requests, peer.sent_failures, peer.sent_latency = peer.requests, peer.failures, peer.latency
    end
  end
end

function _M.flush()
  for _, group in pairs(groups_.groups) do
    flush_group(group)
  end
end

function _M.group(name, key)
  return dict:get("g:" .. name .. ":" .. key) or 0
end

-- Requests, failures, seconds.
function _M.peer(name, endpoint)
  local prefix = "p:" .. name .. ":" .. endpoint
  return dict:get(prefix .. ":r") or 0, dict:get(prefix .. ":f") or 0, dict:get(prefix .. ":l") or 0
end

-- A peer that left the list is no longer reported; its counters would fill the dictionary.
function _M.forget(name, endpoint)
  local prefix = "p:" .. name .. ":" .. endpoint
  dict:delete(prefix .. ":r")
  dict:delete(prefix .. ":f")
  dict:delete(prefix .. ":l")
end

function _M.forget_group(name, by_endpoint)
  for endpoint in pairs(by_endpoint) do
    _M.forget(name, endpoint)
  end
  local prefix = "g:" .. name .. ":"
  for i = 1, #request.BOUNDS + 1 do
    dict:delete(prefix .. "bucket" .. i)
  end
  for class = 100, 500, 100 do
    dict:delete(prefix .. "class" .. class)
  end
  dict:delete(prefix .. "retries")
  dict:delete(prefix .. "unserved")
end

return _M
