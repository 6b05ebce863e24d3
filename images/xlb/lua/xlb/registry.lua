-- Which workers run, of this configuration and of older ones, and how far each has come.

local ffi = require("ffi")

local _M = {}

local dict = ngx.shared.xlb_workers

ffi.cdef([[
int kill(int pid, int sig);
]])

-- Master: a number for the configuration that is being loaded.
function _M.next_epoch()
  return dict:incr("epoch", 1, 0)
end

local function alive(pid)
  return ffi.C.kill(pid, 0) == 0
end

local function parse(text)
  local list = {}
  for pid, epoch, id, state in (text or ""):gmatch("(%d+):(%d+):(%d+):(%a+);") do
    list[#list + 1] = { pid = tonumber(pid), epoch = tonumber(epoch), id = tonumber(id), state = state }
  end
  return list
end

local function render(list)
  local out = {}
  for i, w in ipairs(list) do
    out[i] = string.format("%d:%d:%d:%s;", w.pid, w.epoch, w.id, w.state)
  end
  return table.concat(out)
end

-- Holds a lock for what does not wait: never across a sleep. A holder that died loses it after a second.
function _M.locked(fn, ...)
  local deadline = ngx.now() + 2
  while not dict:add("lock", 1, 1) do
    ngx.update_time()
    if ngx.now() > deadline then
      break
    end
  end
  local ok, a, b, c = pcall(fn, ...)
  dict:delete("lock")
  if not ok then
    error(a, 0)
  end
  return a, b, c
end

local function change(fn)
  _M.locked(function()
    local kept = {}
    for _, w in ipairs(parse(dict:get("list"))) do
      if fn(w) ~= false and alive(w.pid) then
        kept[#kept + 1] = w
      else
        dict:delete("a:" .. w.pid)
      end
    end
    local added = fn(nil)
    if added then
      kept[#kept + 1] = added
    end
    dict:set("list", render(kept))
  end)
end

-- This worker runs; whoever had its place in the same configuration is dead.
function _M.join(epoch, id, pid)
  change(function(w)
    if w == nil then
      return { pid = pid, epoch = epoch, id = id, state = "run" }
    end
    return not (w.epoch == epoch and w.id == id) and w.pid ~= pid
  end)
end

-- This worker takes no new connections, but still has some.
function _M.leaving(pid)
  change(function(w)
    if w and w.pid == pid then
      w.state = "exit"
    end
    return w ~= nil
  end)
end

function _M.leave(pid)
  change(function(w)
    return w ~= nil and w.pid ~= pid
  end)
end

local cached_text, cached_list = nil, {}

function _M.list()
  local text = dict:get("list")
  if text ~= cached_text then
    cached_text, cached_list = text, parse(text)
  end
  return cached_list
end

-- Drops workers whose process is gone.
function _M.sweep()
  for _, w in ipairs(_M.list()) do
    if not alive(w.pid) then
      change(function(x)
        return x ~= nil
      end)
      return
    end
  end
end

function _M.ack(pid, seq)
  dict:set("a:" .. pid, seq)
end

-- Waits until every worker that takes requests has seen `seq`. Returns their number, or nil and the pids that did not.
function _M.wait(seq, seconds, with_leaving)
  local start = ngx.now()
  local swept = false
  while true do
    local count, missing = 0, {}
    for _, w in ipairs(_M.list()) do
      if w.state == "run" or with_leaving then
        count = count + 1
        if (dict:get("a:" .. w.pid) or 0) < seq then
          missing[#missing + 1] = w.pid
        end
      end
    end
    if #missing == 0 then
      return count
    end
    local waited = ngx.now() - start
    if waited > seconds then
      return nil, missing
    end
    if waited > 0.1 and not swept then
      swept = true
      _M.sweep()
    end
    ngx.sleep(0.002)
  end
end

return _M
