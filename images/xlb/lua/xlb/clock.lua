-- Seconds that never jump: the same for all workers of a machine, untouched when somebody sets the clock.

local ffi = require("ffi")

ffi.cdef([[
struct xlb_timespec { long tv_sec; long tv_nsec; };
int clock_gettime(int clock, struct xlb_timespec *time);
]])

local C = ffi.C
local time = ffi.new("struct xlb_timespec")
local MONOTONIC = 1

return function()
  C.clock_gettime(MONOTONIC, time)
  return tonumber(time.tv_sec) + tonumber(time.tv_nsec) / 1e9
end
