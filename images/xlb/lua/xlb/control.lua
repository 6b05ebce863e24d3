-- The control interface (README.md): a unix socket that only the sidecar can open, and still nothing is believed unchecked.

local certs = require("xlb.certs")
local cjson = require("cjson.safe")
local counters = require("xlb.counters")
local dump = require("xlb.dump")
local events = require("xlb.events")
local groups = require("xlb.groups")
local metrics = require("xlb.metrics")
local registry = require("xlb.registry")
local store = require("xlb.store")
local sync = require("xlb.sync")
local table_ = require("xlb.table")

local _M = {}

local WAIT_SECONDS = 2

local function answer(status, body)
  ngx.status = status
  ngx.header["Content-Type"] = "application/json"
  ngx.say(type(body) == "string" and body or cjson.encode(body))
  return status == 200
end

local function refuse(status, code, message, more)
  local body = more or {}
  body.error = code
  body.message = message
  return answer(status, body)
end

local function read_body()
  ngx.req.read_body()
  local body = ngx.req.get_body_data()
  if body then
    return body
  end
  local path = ngx.req.get_body_file()
  local file = path and io.open(path, "rb")
  if not file then
    return ""
  end
  body = file:read("*a")
  file:close()
  return body
end

-- Answers when every worker has come to `seq`.
local function when_live(seq, body)
  sync.tick()
  local workers, missing = registry.wait(seq, WAIT_SECONDS)
  if not workers then
    return refuse(504, "timeout", "workers did not take it over in " .. WAIT_SECONDS .. " s: " .. table.concat(missing, ", "))
  end
  body.workers = workers
  return answer(200, body)
end

local function put(name, version, text, event, body)
  local result, info = store.put(name, version, text, event)
  if result == "full" then
    return refuse(507, "full", "the shared dictionary has no room for " .. #text .. " bytes; nothing was changed")
  end
  if result == "stale" then
    return refuse(409, "stale", string.format("version %.0f is held", info), { held = info })
  end
  -- The same again: whoever asks wants to know that it is live, also after an earlier answer of 504.
  return when_live(result == "same" and events.head() or info, body)
end

local function put_group(name)
  local text = read_body()
  local table_now, reason = table_.parse(text, name)
  if not table_now then
    return refuse(422, "invalid", reason)
  end
  if #table_now.peers == 0 and ngx.var.arg_empty ~= "1" then
    return refuse(422, "empty", "peers is empty; say ?empty=1 if that is meant")
  end
  local group = groups.groups[name]
  local before = group and group.by_endpoint or {}
  local there = {}
  for _, peer in ipairs(table_now.peers) do
    there[peer.endpoint] = true
  end
  if put(name, table_now.version, text, "t " .. name, { group = name, version = table_now.version }) then
    for endpoint in pairs(before) do
      if not there[endpoint] then
        counters.forget(name, endpoint)
      end
    end
  end
end

local function delete_group(name)
  local seq = store.delete(name, "t " .. name)
  if not seq then
    return refuse(404, "not_found", "there is no such group")
  end
  local group = groups.groups[name]
  if when_live(seq, { group = name }) then
    counters.forget_group(name, group and group.by_endpoint or {})
  end
end

local function put_certs()
  local text = read_body()
  local version, reason = certs.check(text)
  if not version then
    return refuse(422, "invalid", reason)
  end
  return put(store.CERTS, version, text, "c", { version = version })
end

local asked = 0

-- Asks all workers and returns pid → answer and the pids that gave none.
local function ask(kind)
  asked = asked + 1
  local id = ngx.worker.pid() .. "-" .. asked
  local seq = events.push("q " .. id .. " " .. kind)
  sync.tick()
  registry.wait(seq, WAIT_SECONDS, true)
  local answers, missing = {}, {}
  for _, w in ipairs(registry.list()) do
    answers[w.pid] = dump.take(id, w.pid)
    if not answers[w.pid] and w.state == "run" then
      missing[#missing + 1] = w.pid
    end
  end
  return answers, missing
end

local function get_groups()
  local answers, missing = ask("tables")
  if #missing > 0 then
    return refuse(504, "timeout", "workers did not answer: " .. table.concat(missing, ", "))
  end
  local out = {}
  for _, w in ipairs(registry.list()) do
    if answers[w.pid] then
      local leaving = w.state == "exit" or w.epoch < xlb_generation_epoch
      out[#out + 1] = string.format('{"worker":"%d","leaving":%s,"groups":%s}', w.pid, tostring(leaving), answers[w.pid])
    end
  end
  return answer(200, '{"workers":[' .. table.concat(out, ",") .. "]}")
end

local function get_generation()
  registry.sweep()
  local pids, old = {}, {}
  for _, w in ipairs(registry.list()) do
    local list = w.epoch == xlb_generation_epoch and w.state == "run" and pids or old
    list[#list + 1] = w.pid
  end
  return answer(
    200,
    string.format(
      '{"generation":%s,"workers":%d,"pids":[%s],"old":[%s],"certs":%.0f}',
      cjson.encode(ngx.var.xlb_generation or ""),
      #pids,
      table.concat(pids, ","),
      table.concat(old, ","),
      certs.version() or 0
    )
  )
end

local function get_metrics()
  local answers = ask("loads")
  ngx.header["Content-Type"] = "text/plain; version=0.0.4; charset=utf-8"
  ngx.print(metrics.render(answers, registry.list()))
end

local ROUTES = {
  ["GET /groups"] = get_groups,
  ["GET /generation"] = get_generation,
  ["GET /metrics"] = get_metrics,
  ["PUT /certs"] = put_certs,
  ["PUT /groups/"] = put_group,
  ["DELETE /groups/"] = delete_group,
}

function _M.serve()
  local method, path = ngx.req.get_method(), ngx.var.uri
  local name = path:match("^/groups/(.*)$")
  local handler = ROUTES[method .. " " .. (name and "/groups/" or path)]
  if not handler then
    return refuse(404, "not_found", "there is no " .. method .. " " .. path:sub(1, 100))
  end
  if name and not table_.group_name(name) then
    return refuse(422, "invalid", "not the name of a group")
  end
  return handler(name)
end

return _M
