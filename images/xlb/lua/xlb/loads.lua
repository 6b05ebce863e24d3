-- What is in flight, told between workers: each writes its own counts for a list under its own name, and adds up the others'. A worker
-- that died takes its counts with it.

local ffi = require("ffi")
local groups_ = require("xlb.groups")
local registry = require("xlb.registry")

local _M = {}

local scratch = ngx.shared.xlb_scratch
local workers_dict = ngx.shared.xlb_workers
local uint32 = ffi.typeof("uint32_t[?]")
local uint32_ptr = ffi.typeof("const uint32_t *")

local function key(pid, name)
  return "l:" .. pid .. ":" .. name
end

local REPEAT_SECONDS = 20

local function publish(group, pid, now)
  local n = #group.peers
  local counts = ffi.new(uint32, n + 2)
  -- Low and high half of the version: counts are by place in the list.
  counts[0] = group.version % 4294967296
  counts[1] = math.floor(group.version / 4294967296)
  for i, peer in ipairs(group.peers) do
    counts[i + 1] = peer.active
  end
  scratch:set(key(pid, group.name), ffi.string(counts, (n + 2) * 4), REPEAT_SECONDS * 3)
  group.published = now
  workers_dict:incr("loads", 1, 0)
end

-- Adds worker `pid`'s counts of this list by add(place, count); nothing when it runs with another version.
local function read(group, pid, add)
  local text = scratch:get(key(pid, group.name))
  local n = #group.peers
  if not text or #text ~= (n + 2) * 4 then
    return
  end
  local counts = ffi.cast(uint32_ptr, text)
  if counts[0] + counts[1] * 4294967296 ~= group.version then
    return
  end
  for i = 1, n do
    if counts[i + 1] > 0 then
      add(i, counts[i + 1])
    end
  end
end

local seen_loads, seen_workers, seen_changes

local function take_others(group, pid, workers)
  for _, peer in ipairs(group.peers) do
    peer.others = 0
  end
  for _, w in ipairs(workers) do
    if w.pid ~= pid then
      read(group, w.pid, function(i, count)
        group.peers[i].others = group.peers[i].others + count
      end)
    end
  end
end

-- Only for lists where it decides who is picked, and only when something began or ended since the last time.
function _M.tick(pid, now)
  local workers = registry.list()
  if #workers < 2 and workers == seen_workers then
    return
  end
  for _, group in pairs(groups_.groups) do
    if group.algorithm == "least_conn" and (group.touched or now - (group.published or 0) > REPEAT_SECONDS) then
      group.touched = false
      publish(group, pid, now)
    end
  end
  local loads = workers_dict:get("loads")
  if loads == seen_loads and workers == seen_workers and groups_.changes == seen_changes then
    return
  end
  seen_loads, seen_workers, seen_changes = loads, workers, groups_.changes
  for _, group in pairs(groups_.groups) do
    if group.algorithm == "least_conn" then
      take_others(group, pid, workers)
    end
  end
end

return _M
