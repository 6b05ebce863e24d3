-- Addresses a peer may have: IPv4 or IPv6 in figures, nothing a resolver would have to look at.

local _M = {}

local function ipv4(text)
  local a, b, c, d = text:match("^(%d%d?%d?)%.(%d%d?%d?)%.(%d%d?%d?)%.(%d%d?%d?)$")
  if not a then
    return false
  end
  for _, part in ipairs({ a, b, c, d }) do
    if tonumber(part) > 255 or (#part > 1 and part:sub(1, 1) == "0") then
      return false
    end
  end
  -- "This host", multicast, reserved and broadcast are nobody's.
  local first = tonumber(a)
  return first > 0 and first < 224
end

local function ipv6(text)
  if #text > 39 or text:find("[^%x:]") or text:find(":::", 1, true) then
    return false
  end
  local head, tail = text:match("^(.-)::(.*)$")
  if head and tail:find("::", 1, true) then
    return false
  end
  local function groups(part)
    local n = 0
    if part == "" then
      return 0
    end
    for piece in (part .. ":"):gmatch("(.-):") do
      if not piece:match("^%x%x?%x?%x?$") then
        return nil
      end
      n = n + 1
    end
    return n
  end
  if head then
    local left, right = groups(head), groups(tail)
    return left ~= nil and right ~= nil and left + right < 8 and text ~= "::"
  end
  return groups(text) == 8
end

-- The address as it is written before a port, or nil.
function _M.host(text)
  if ipv4(text) then
    return text
  end
  if text:find(":", 1, true) and ipv6(text) then
    return "[" .. text:lower() .. "]"
  end
  return nil
end

return _M
