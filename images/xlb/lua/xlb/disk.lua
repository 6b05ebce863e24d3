-- Last known good lists: what the sidecar wrote is read when nginx loads a configuration, before any worker serves. Only groups that
-- the shared dictionary does not hold are taken, so a reload never goes back.

local ffi = require("ffi")
local store = require("xlb.store")
local table_ = require("xlb.table")

local _M = {}

local FOLDER = "/var/lib/xlb/tables/"
local CERTS = "/run/secrets/certs.json"

ffi.cdef([[
typedef struct __dirstream DIR;
struct dirent { uint64_t d_ino; int64_t d_off; unsigned short d_reclen; unsigned char d_type; char d_name[256]; };
DIR *opendir(const char *name);
struct dirent *readdir(DIR *dir);
int closedir(DIR *dir);
unsigned char *SHA256(const unsigned char *data, size_t length, unsigned char *digest);
]])

local function sha256(text)
  local digest = ffi.new("unsigned char[32]")
  ffi.C.SHA256(text, #text, digest)
  local hex = {}
  for i = 0, 31 do
    hex[i + 1] = string.format("%02x", digest[i])
  end
  return table.concat(hex)
end

local function read(path)
  local file = io.open(path, "rb")
  if not file then
    return nil
  end
  local text = file:read("*a")
  file:close()
  return text
end

-- First line: SHA-256 of all that follows it.
local function load_group(path, name)
  local text = read(path)
  if not text then
    return nil, "cannot be read"
  end
  local sum, body = text:match("^(%x+)\n(.*)$")
  if not sum or #sum ~= 64 or sha256(body) ~= sum:lower() then
    return nil, "has a wrong checksum"
  end
  local parsed, reason = table_.parse(body, name)
  if not parsed then
    return nil, reason
  end
  return parsed.version, body
end

local function group_names()
  local names = {}
  local dir = ffi.C.opendir(FOLDER)
  if dir == nil then
    return names
  end
  while true do
    local entry = ffi.C.readdir(dir)
    if entry == nil then
      break
    end
    local name = ffi.string(entry.d_name):match("^(.+)%.json$") or ffi.string(entry.d_name):match("^(.+)%.json%.prev$")
    if name and table_.group_name(name) then
      names[name] = true
    end
  end
  ffi.C.closedir(dir)
  return names
end

local function load_one(name)
  for _, path in ipairs({ FOLDER .. name .. ".json", FOLDER .. name .. ".json.prev" }) do
    local version, body = load_group(path, name)
    if version then
      if store.put(name, version, body, "t " .. name) == "full" then
        ngx.log(ngx.ERR, "xlb: no room for the saved list of ", name)
      end
      return
    end
    ngx.log(ngx.WARN, "xlb: ", path, " ", body)
  end
end

function _M.load_all()
  for name in pairs(group_names()) do
    if not store.version(name) then
      load_one(name)
    end
  end
  local text = read(CERTS)
  if text then
    local certs = require("xlb.certs")
    local version, reason = certs.check(text)
    if not version then
      ngx.log(ngx.ERR, "xlb: ", CERTS, ": ", reason)
    elseif version > (store.version(store.CERTS) or 0) then
      store.put(store.CERTS, version, text, "c")
    end
  end
end

return _M
