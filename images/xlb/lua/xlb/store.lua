-- Tables and certificates in the shared dictionary. Text first, then the version that points to it, then the event: a reader never
-- meets a version without its text, and when the dictionary is full what was there stays. The text has a key of its own for each
-- version because `safe_set` over a key of another length frees the old value before it looks for room.

local events = require("xlb.events")
local registry = require("xlb.registry")

local _M = {}

local dict = ngx.shared.xlb_tables

local function text_key(name, version)
  return string.format("b:%s:%.0f", name, version)
end

local function put(name, version, text, event)
  local held = dict:get("v:" .. name)
  if held and version <= held then
    if version == held and dict:get(text_key(name, held)) == text then
      return "same", held
    end
    return "stale", held
  end
  local key = text_key(name, version)
  if not dict:safe_set(key, text) then
    dict:flush_expired()
    return "full"
  end
  if not dict:safe_set("v:" .. name, version) then
    dict:delete(key)
    return "full"
  end
  if held then
    dict:delete(text_key(name, held))
  end
  return "stored", events.push(event)
end

-- "stored" and the number of the event · "same" and the version held · "stale" and the version held · "full".
function _M.put(name, version, text, event)
  return registry.locked(put, name, version, text, event)
end

function _M.delete(name, event)
  return registry.locked(function()
    local held = dict:get("v:" .. name)
    if not held then
      return nil
    end
    dict:delete("v:" .. name)
    dict:delete(text_key(name, held))
    return events.push(event)
  end)
end

function _M.version(name)
  return dict:get("v:" .. name)
end

-- Version and text, or nil.
function _M.get(name)
  for _ = 1, 3 do
    local version = dict:get("v:" .. name)
    if not version then
      return nil
    end
    local text = dict:get(text_key(name, version))
    if text then
      return version, text
    end
  end
  return nil
end

function _M.names()
  local names = {}
  for _, key in ipairs(dict:get_keys(0)) do
    local name = key:match("^v:([^@].*)$")
    if name then
      names[#names + 1] = name
    end
  end
  return names
end

-- Certificates are kept under a name that no group can have.
_M.CERTS = "@certs"

return _M
