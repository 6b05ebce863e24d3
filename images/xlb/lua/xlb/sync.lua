-- Keeps a worker in step: reads the tables before its first request, then looks for events every 20 ms, and every 5 ms
-- while they come.

local certs = require("xlb.certs")
local checks = require("xlb.checks")
local clock = require("xlb.clock")
local counters = require("xlb.counters")
local dump = require("xlb.dump")
local events = require("xlb.events")
local groups = require("xlb.groups")
local health = require("xlb.health")
local loads = require("xlb.loads")
local registry = require("xlb.registry")
local request = require("xlb.request")

local _M = {}

local TICK = 0.02
local BUSY_TICK = 0.005
local BUSY_SECONDS = 1
local FLUSH = 5

local pid
local joined = false
local leaving = false
local dirty, dirty_certs, questions = {}, false, {}
local next_flush = 0
local busy_until = 0

local function on_line(kind, a, b)
  if kind == "t" then
    dirty[a] = true
  elseif kind == "c" then
    dirty_certs = true
  elseif kind == "d" then
    health.on_passive(a, b)
  elseif kind == "k" then
    health.on_active(a, b)
  elseif kind == "q" then
    questions[#questions + 1] = { a, b }
  end
end

local function everything()
  groups.load_all()
  certs.load()
  for _, group in pairs(groups.groups) do
    for _, peer in ipairs(group.peers) do
      groups.refresh_peer(group, peer)
    end
    groups.rebuild(group)
  end
end

local function catch_up(now)
  if not events.poll(on_line, everything) then
    return
  end
  busy_until = now + BUSY_SECONDS
  for name in pairs(dirty) do
    dirty[name] = nil
    groups.load(name)
  end
  if dirty_certs then
    dirty_certs = false
    certs.load()
  end
  for i, question in ipairs(questions) do
    questions[i] = nil
    dump.answer(question[1], question[2], pid)
  end
  registry.ack(pid, events.seen())
end

-- One look, also by a worker that has just changed something itself.
function _M.tick()
  local now = clock()
  catch_up(now)
  groups.tick(now)
  loads.tick(pid, now)
  if not leaving then
    checks.tick(pid, now)
  end
  if now >= next_flush then
    next_flush = now + FLUSH
    counters.flush()
  end
end

function _M.stop()
  if joined then
    joined = false
    checks.stop(pid)
    counters.flush()
    registry.leave(pid)
  end
end

-- A worker that is told to go stays in step as long as it has requests; the loop must not outlast them, it would keep the process.
local function loop(premature)
  while not premature do
    local ok, err = pcall(_M.tick)
    if not ok then
      ngx.log(ngx.ERR, "xlb: ", err)
    end
    if ngx.worker.exiting() then
      if not leaving then
        leaving = true
        checks.stop(pid)
        registry.leaving(pid)
      end
      if request.in_flight == 0 then
        break
      end
    end
    ngx.sleep(clock() < busy_until and BUSY_TICK or TICK)
  end
  _M.stop()
end

function _M.start()
  local id = ngx.worker.id()
  if not id then
    return
  end
  pid = ngx.worker.pid()
  math.randomseed(pid + ngx.now())
  -- Events up to here are in what is read next.
  local head = events.head()
  everything()
  events.skip_to(head)
  registry.join(xlb_generation_epoch, id, pid)
  joined = true
  registry.ack(pid, head)
  -- What came between is nobody else's to wait for.
  catch_up(clock())
  assert(ngx.timer.at(0, loop))
end

return _M
