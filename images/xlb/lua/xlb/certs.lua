-- Certificates by the name the client asks for: exact, then wildcard, then the first of the list. Each worker parses a pair once, when
-- it is first wanted.

local cjson = require("cjson.safe")
local ffi = require("ffi")
local ssl = require("ngx.ssl")
local store = require("xlb.store")

local _M = {}

ffi.cdef([[
int X509_check_private_key(const void *certificate, const void *key);
void *OPENSSL_sk_value(const void *stack, int index);
void ERR_clear_error(void);
]])

local json = cjson.new()
json.decode_max_depth(16)

local exact, wildcard, first = {}, {}, nil
local loaded

local function parse_pair(row)
  local cert, err = ssl.parse_pem_cert(row.cert)
  if not cert then
    ffi.C.ERR_clear_error()
    return nil, "the certificate cannot be read: " .. tostring(err)
  end
  local key
  key, err = ssl.parse_pem_priv_key(row.key)
  if not key then
    ffi.C.ERR_clear_error()
    return nil, "the key cannot be read: " .. tostring(err)
  end
  return { cert = cert, key = key }
end

local function valid_host(host)
  if type(host) ~= "string" or #host > 253 then
    return false
  end
  local name = host:match("^%*%.(.+)$") or host
  return name:match("^[a-z0-9][a-z0-9.-]*$") ~= nil and not name:find("..", 1, true) and name:sub(-1) ~= "."
end

local function check_row(row, number)
  local where = "certs[" .. number - 1 .. "]"
  if type(row) ~= "table" or type(row.hosts) ~= "table" or #row.hosts == 0 then
    return where .. " needs hosts, cert and key"
  end
  for _, host in ipairs(row.hosts) do
    if not valid_host(host) then
      return where .. ".hosts must be lower-case DNS names"
    end
  end
  if type(row.cert) ~= "string" or type(row.key) ~= "string" then
    return row.hosts[1] .. ": cert and key must be PEM texts"
  end
  local pair, reason = parse_pair(row)
  if not pair then
    return row.hosts[1] .. ": " .. reason
  end
  local leaf = ffi.C.OPENSSL_sk_value(pair.cert, 0)
  if leaf == nil or ffi.C.X509_check_private_key(leaf, pair.key) ~= 1 then
    ffi.C.ERR_clear_error()
    return row.hosts[1] .. ": the key is not the certificate's"
  end
  return nil
end

-- The version of a good document, or nil and why it is not one.
function _M.check(text)
  local document, err = json.decode(text)
  if type(document) ~= "table" then
    return nil, "not JSON: " .. tostring(err)
  end
  local version = document.version
  if type(version) ~= "number" or version % 1 ~= 0 or version < 1 or version > 9007199254740991 then
    return nil, "version must be a positive integer"
  end
  if type(document.certs) ~= "table" then
    return nil, "certs must be a list"
  end
  local n = 0
  for key in pairs(document.certs) do
    n = n + 1
    if type(key) ~= "number" then
      return nil, "certs must be a list"
    end
  end
  for i = 1, n do
    local reason = check_row(document.certs[i], i)
    if reason then
      return nil, reason
    end
  end
  return version
end

-- Takes over what the shared dictionary holds.
function _M.load()
  local version, text = store.get(store.CERTS)
  if version == loaded then
    return
  end
  exact, wildcard, first = {}, {}, nil
  loaded = version
  local document = text and json.decode(text)
  for _, row in ipairs(document and document.certs or {}) do
    local entry = { row = row }
    first = first or entry
    for _, host in ipairs(row.hosts) do
      local suffix = host:match("^%*(%..+)$")
      if suffix then
        wildcard[suffix] = wildcard[suffix] or entry
      else
        exact[host] = exact[host] or entry
      end
    end
  end
end

function _M.version()
  return loaded
end

local function find(name)
  if not name then
    return first
  end
  name = name:lower()
  return exact[name] or wildcard[name:match("^[^.]+(%..+)$") or ""] or first
end

-- For a handshake: without a certificate of ours the one of the configuration stays.
function _M.serve()
  local entry = find(ssl.server_name())
  if not entry then
    return
  end
  if not entry.pair then
    local pair, reason = parse_pair(entry.row)
    if not pair then
      ngx.log(ngx.ERR, "xlb: ", entry.row.hosts[1], ": ", reason)
      return
    end
    entry.pair, entry.row = pair, { hosts = entry.row.hosts }
  end
  ssl.clear_certs()
  local ok, err = ssl.set_cert(entry.pair.cert)
  if ok then
    ok, err = ssl.set_priv_key(entry.pair.key)
  end
  if not ok then
    ngx.log(ngx.ERR, "xlb: cannot use a certificate: ", err)
    return ngx.exit(ngx.ERROR)
  end
end

return _M
