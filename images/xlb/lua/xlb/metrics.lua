-- Prometheus text: counters from the shared dictionary, gauges from what the workers say.

local clock = require("xlb.clock")
local counters = require("xlb.counters")
local groups_ = require("xlb.groups")
local request = require("xlb.request")

local _M = {}

local function label(text)
  return (text:gsub("\\", "\\\\"):gsub('"', '\\"'))
end

-- Sums over workers of what is in flight: group → place → count, and group → worker → version.
local function read_loads(answers)
  local active, versions = {}, {}
  for pid, text in pairs(answers) do
    for name, version, places in text:gmatch("(%S+) (%d+) ([%d:,]*)") do
      versions[name] = versions[name] or {}
      versions[name][pid] = version
      local group = groups_.groups[name]
      if group and tonumber(version) == group.version then
        active[name] = active[name] or {}
        for place, count in places:gmatch("(%d+):(%d+)") do
          place = tonumber(place)
          active[name][place] = (active[name][place] or 0) + tonumber(count)
        end
      end
    end
  end
  return active, versions
end

local function group_lines(out, name)
  local g = 'group="' .. name .. '"'
  for class = 100, 500, 100 do
    local count = counters.group(name, "class" .. class)
    if count > 0 then
      out("xlb_responses_total", string.format('%s,class="%dxx"', g, class / 100), count)
    end
  end
  out("xlb_retries_total", g, counters.group(name, "retries"))
  out("xlb_unserved_total", g, counters.group(name, "unserved"))
  local sum = 0
  for i, bound in ipairs(request.BOUNDS) do
    sum = sum + counters.group(name, "bucket" .. i)
    out("xlb_request_seconds_bucket", string.format('%s,le="%s"', g, bound), sum)
  end
  sum = sum + counters.group(name, "bucket" .. #request.BOUNDS + 1)
  out("xlb_request_seconds_bucket", g .. ',le="+Inf"', sum)
  out("xlb_request_seconds_count", g, sum)
end

local TYPES = {
  { "xlb_responses_total", "counter", "Responses by class" },
  { "xlb_retries_total", "counter", "Requests passed on to another peer" },
  { "xlb_unserved_total", "counter", "Requests of a group without a peer" },
  { "xlb_request_seconds_bucket", "histogram", "Time a peer took", "xlb_request_seconds" },
  { "xlb_request_seconds_count" },
  { "xlb_request_seconds_sum" },
  { "xlb_peer_requests_total", "counter", "Requests sent to a peer" },
  { "xlb_peer_failures_total", "counter", "Requests a peer failed" },
  { "xlb_peer_seconds_total", "counter", "Time a peer took, all its requests" },
  { "xlb_peer_active", "gauge", "Requests and connections in flight" },
  { "xlb_peer_healthy", "gauge", "1 while checks and requests find the peer well" },
  { "xlb_table_version", "gauge", "Version of the list a worker runs with" },
  { "xlb_workers", "gauge", "Worker processes" },
}

-- `answers`: pid → dump of loads; `workers`: list of the registry.
function _M.render(answers, workers)
  local families = {}
  local function out(name, labels, value)
    local family = families[name]
    if not family then
      family = {}
      families[name] = family
    end
    family[#family + 1] = string.format("%s{%s} %s", name, labels, value)
  end
  local active, versions = read_loads(answers)
  local now = clock()
  for name, group in pairs(groups_.groups) do
    group_lines(out, name)
    local seconds_sum = 0
    for i, peer in ipairs(group.peers) do
      local labels = string.format('group="%s",peer="%s",endpoint="%s"', name, label(peer.id), peer.endpoint)
      local requests, failures, seconds = counters.peer(name, peer.endpoint)
      seconds_sum = seconds_sum + seconds
      out("xlb_peer_requests_total", labels, requests)
      out("xlb_peer_failures_total", labels, failures)
      out("xlb_peer_seconds_total", labels, string.format("%.6f", seconds))
      out("xlb_peer_active", labels, active[name] and active[name][i] or 0)
      out("xlb_peer_healthy", labels, peer.check_ok and peer.down_until <= now and 1 or 0)
    end
    out("xlb_request_seconds_sum", 'group="' .. name .. '"', string.format("%.6f", seconds_sum))
    for pid, version in pairs(versions[name] or {}) do
      out("xlb_table_version", string.format('group="%s",worker="%s"', name, pid), version)
    end
  end
  local states = { run = 0, exit = 0 }
  for _, w in ipairs(workers) do
    states[w.state] = states[w.state] + 1
  end
  out("xlb_workers", 'state="running"', states.run)
  out("xlb_workers", 'state="leaving"', states.exit)
  local lines = {}
  for _, family in ipairs(TYPES) do
    local name, kind, help, base = family[1], family[2], family[3], family[4]
    if families[name] then
      if kind then
        lines[#lines + 1] = "# HELP " .. (base or name) .. " " .. help
        lines[#lines + 1] = "# TYPE " .. (base or name) .. " " .. kind
      end
      lines[#lines + 1] = table.concat(families[name], "\n")
    end
  end
  return table.concat(lines, "\n") .. "\n"
end

return _M
