-- Algorithms. Each takes a pool (peers that may be tried) and the peers this request has tried already, and returns a peer or nil.

local bit = require("bit")

local bxor, rshift, tobit = bit.bxor, bit.rshift, bit.tobit
local log = math.log

local _M = {}

-- Smooth weighted round robin: each peer gains its weight, the one that has most is taken and pays the total. Equal weights come down
-- to one step forward.
function _M.round_robin(pool, tried)
  local peers, n = pool.peers, pool.n
  if pool.equal then
    local at = pool.cursor
    if not tried and n > 0 then
      at = at < n and at + 1 or 1
      pool.cursor = at
      return peers[at]
    end
    for _ = 1, n do
      at = at + 1
      if at > n then
        at = 1
      end
      local peer = peers[at]
      if not tried[peer] then
        pool.cursor = at
        return peer
      end
    end
    return nil
  end
  local best, most, total = nil, nil, 0
  for i = 1, n do
    local peer = peers[i]
    if not (tried and tried[peer]) then
      local weight = peer.weight
      local credit = peer.credit + weight
      peer.credit = credit
      total = total + weight
      if not best or credit > most then
        best, most = peer, credit
      end
    end
  end
  if best then
    best.credit = best.credit - total
  end
  return best
end

-- Fewest requests in flight for the weight, over all workers; ties go round.
function _M.least_conn(pool, tried)
  local peers, n = pool.peers, pool.n
  local start = pool.cursor
  local best, least, at_best
  for i = 1, n do
    local at = start + i
    if at > n then
      at = at - n
    end
    local peer = peers[at]
    if not (tried and tried[peer]) then
      local load = (peer.active + peer.others + 1) / peer.weight
      if not best or load < least then
        best, least, at_best = peer, load, at
      end
    end
  end
  if best then
    pool.cursor = at_best
  end
  return best
end

-- A well mixed number of 32 bits (the finishing step of MurmurHash3, public domain, with 16-bit halves because a product of two
-- 32-bit numbers does not fit a double).
local function multiply(a, b)
  local low, high = bit.band(a, 0xffff), rshift(a, 16)
  return tobit(low * b + tobit(bit.lshift(tobit(high * bit.band(b, 0xffff)), 16)))
end

local function mix(h)
  h = bxor(h, rshift(h, 16))
  h = multiply(h, 0x85ebca6b)
  h = bxor(h, rshift(h, 13))
  h = multiply(h, 0xc2b2ae35)
  return bxor(h, rshift(h, 16))
end
_M.mix = mix

-- Rendezvous: every peer draws a number from the key and its own seed, the highest takes it. A peer that goes or comes moves only
-- its own share of the keys; weights shift the draw by a logarithm.
function _M.hash(pool, tried, key)
  local peers, n = pool.peers, pool.n
  local best, most
  local equal = pool.equal
  for i = 1, n do
    local peer = peers[i]
    if not (tried and tried[peer]) then
      local draw = mix(bxor(key, peer.seed)) % 4294967296
      if not equal then
        draw = -peer.weight / log((draw + 0.5) / 4294967296)
      end
      if not best or draw > most then
        best, most = peer, draw
      end
    end
  end
  return best
end

return _M
