-- What changed, told to all workers: a ring of numbered lines in a shared dictionary. A worker polls one integer; one that fell
-- behind by more than the ring reads everything again.
--
-- Lines: "t <group>" table · "c" certificates · "d <group> <endpoint>" passive health · "k <check id> <endpoint>" active health ·
-- "q <id>" workers are asked for a dump.

local _M = {}

local dict = ngx.shared.xlb_workers
local RING = 1024

-- A line that is not there yet may be on its way; after so many looks its writer is taken for dead.
local PATIENCE = 5

local last = 0
local waited = 0

function _M.push(line)
  local seq = assert(dict:incr("seq", 1, 0))
  dict:set("e:" .. seq % RING, seq .. " " .. line)
  return seq
end

function _M.head()
  return dict:get("seq") or 0
end

function _M.seen()
  return last
end

-- Everything up to `seq` is known, by whatever way.
function _M.skip_to(seq)
  last = seq
end

-- Calls on_line(kind, a, b) for each new line, in order; on_lost() when lines were missed. Returns whether anything was new.
function _M.poll(on_line, on_lost)
  local head = dict:get("seq") or 0
  if head == last then
    return false
  end
  if head < last or head - last >= RING then
    last = head
    on_lost()
    return true
  end
  for seq = last + 1, head do
    local entry = dict:get("e:" .. seq % RING)
    local number, kind, a, b
    if entry then
      number, kind, a, b = entry:match("^(%d+) (%a) ?(%S*) ?(%S*)$")
    end
    if tonumber(number) ~= seq then
      waited = waited + 1
      if waited > PATIENCE or (number and tonumber(number) > seq) then
        waited = 0
        last = head
        on_lost()
      end
      return true
    end
    waited = 0
    last = seq
    on_line(kind, a, b)
  end
  return true
end

return _M
