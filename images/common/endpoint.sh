#!/bin/sh
# The member's endpoint: HAProxy with the sidecar's configuration, else the last one it took, else none. The supervisor starts it again when it ends;
# it needs neither sidecar nor engine.
set -u

share=$(dirname "$0")
SERVICE=$(basename "$share")
export SERVICE # for haproxy.cfg beside this file
state=/var/lib/$SERVICE/haproxy
conf=$state/haproxy.cfg
good=$state/last-good.cfg

say() { printf '{"name":"endpoint","msg":"%s"}\n' "$*" >&2; }

takes() { [ -f "$1" ] && haproxy -c -q -f "$1"; }

if takes "$conf"; then
  # Not saved where the disk is full: it serves all the same.
  cp "$conf" "$good" 2>/dev/null || true
else
  if [ -f "$conf" ]; then
    say "HAProxy refuses its configuration"
    mv "$conf" "$conf.refused"
  fi
  if takes "$good"; then cp "$good" "$conf"; else cp "$share/haproxy.cfg" "$conf"; fi
fi
[ -f "$conf" ] || conf=$share/haproxy.cfg
exec haproxy -W -q -S "/run/$SERVICE/haproxy-master.sock,mode,600" -f "$conf"
