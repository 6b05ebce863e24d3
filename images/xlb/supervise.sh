#!/bin/sh
# Under tini: keeps nginx, HAProxy and the sidecar running, each by itself. Whichever ends is started again, with growing pauses if it does so
# often; the others are not touched. nginx needs neither Consul nor the sidecar to serve what was last known good.
set -u

state=/var/lib/xlb
run=/run/xlb
share=/usr/share/xlb
conf=$state/nginx/current/nginx.conf
haproxy_conf=$state/haproxy/haproxy.cfg
# Seconds that requests get to end when the container is stopped; below the time the engine waits before it kills.
grace=${XLB_STOP_SECONDS:-20}

say() { printf '{"name":"supervise","msg":"%s"}\n' "$*" >&2; }

uptime_seconds() {
  read -r seconds _ </proc/uptime
  seconds=${seconds%.*}
}

point_current_to() {
  ln -sfn "$1" "$state/nginx/.current.supervise" && mv -T "$state/nginx/.current.supervise" "$state/nginx/current"
}

# What nginx starts with is always named `current`, because a reload reads the same name again.
choose_nginx_conf() {
  if [ -f "$conf" ] && nginx -t -q -c "$conf"; then return; fi
  if [ -f "$state/nginx/last-good/nginx.conf" ] && nginx -t -q -c "$state/nginx/last-good/nginx.conf"; then
    say "nginx refuses its configuration; the last good one is used"
    point_current_to "$(readlink "$state/nginx/last-good")"
    return
  fi
  if [ -e "$conf" ]; then say "nginx refuses both its configuration and the last good one; it starts without listeners"; fi
  mkdir -p "$state/nginx/builtin"
  cp "$share/builtin.conf" "$state/nginx/builtin/nginx.conf"
  point_current_to builtin
}

before_nginx() {
  choose_nginx_conf
  # nginx does not bind over a socket that a killed one left.
  rm -f "$run/nginx.sock" "$run/503.sock"
}

start_nginx() { exec setsid nginx -g 'daemon off;' -c "$conf"; }

# Workers outlive a killed master and would keep the ports: they are told to let go of them and finish what they have. Those of an earlier
# death have had their time; one that is frozen and holds a port ends here, at the next death.
orphans=''
after_nginx() {
  if [ -n "$orphans" ]; then kill -KILL "-$orphans" 2>/dev/null; fi
  if kill -QUIT "-$1" 2>/dev/null; then orphans=$1; else orphans=''; fi
}

before_haproxy() {
  if [ -f "$haproxy_conf" ] && haproxy -c -q -f "$haproxy_conf"; then
    cp "$haproxy_conf" "$state/haproxy/last-good.cfg"
    return
  fi
  if [ -f "$haproxy_conf" ]; then
    say "haproxy refuses its configuration"
    mv "$haproxy_conf" "$haproxy_conf.refused"
    if [ -f "$state/haproxy/last-good.cfg" ] && haproxy -c -q -f "$state/haproxy/last-good.cfg"; then
      cp "$state/haproxy/last-good.cfg" "$haproxy_conf"
      return
    fi
  fi
  cp "$share/haproxy.cfg" "$haproxy_conf"
}

start_haproxy() { exec setsid haproxy -W -q -S "$run/haproxy-master.sock,mode,600" -f "$haproxy_conf"; }
after_haproxy() { kill -KILL "-$1" 2>/dev/null || true; }

before_sidecar() { :; }
# Small young and old generations: at rest with 1,000 endpoints some 10 MiB less for a little more work when they change.
# One arena, and what is freed goes back at once: of the 1 MB texts in which Consul answers, glibc would keep some 8 MB.
start_sidecar() {
  export MALLOC_ARENA_MAX=1 MALLOC_TRIM_THRESHOLD_=65536 MALLOC_MMAP_THRESHOLD_=65536
  exec setsid node --optimize-for-size --max-semi-space-size=2 --max-old-space-size=96 "$share/xlb.mjs"
}
after_sidecar() { kill -KILL "-$1" 2>/dev/null || true; }

# keep NAME SIGNAL: runs start_NAME again and again until told to stop, then sends SIGNAL and waits for it to end.
keep() {
  stopping='' child='' pause=0 signal=$2
  trap 'stopping=1; if [ -n "$child" ]; then kill -"$signal" "$child" 2>/dev/null; fi' TERM
  trap '' INT QUIT HUP
  while [ -z "$stopping" ]; do
    uptime_seconds
    began=$seconds
    "before_$1"
    (trap - TERM INT QUIT HUP; "start_$1") &
    child=$!
    if [ -n "$stopping" ]; then kill -"$signal" "$child" 2>/dev/null; fi
    # A signal ends `wait` before its time.
    code=0
    wait "$child" || code=$?
    while kill -0 "$child" 2>/dev/null; do
      code=0
      wait "$child" || code=$?
    done
    "after_$1" "$child"
    if [ -n "$stopping" ]; then break; fi
    uptime_seconds
    if [ $((seconds - began)) -ge 10 ]; then pause=0; fi
    say "$1 ended with $code and is started again in $pause s"
    sleep "$pause"
    case $pause in 0) pause=0.2 ;; 0.2) pause=1 ;; 1) pause=2 ;; *) pause=5 ;; esac
  done
}

mkdir -p "$state/nginx" "$state/tables" "$state/haproxy" "$run/tmp"
if [ ! -s "$run/fallback.key" ]; then
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj "/CN=xlb" \
    -keyout "$run/fallback.key" -out "$run/fallback.crt" 2>/dev/null || say "no certificate could be made for TLS without one"
fi

keep nginx QUIT &
nginx_keeper=$!
keep haproxy USR1 &
haproxy_keeper=$!
sidecar_keeper=''
if [ -f "$share/xlb.mjs" ]; then
  keep sidecar TERM &
  sidecar_keeper=$!
fi

stop=''
trap 'stop=1' TERM INT QUIT
while [ -z "$stop" ]; do
  sleep 5 &
  nap=$!
  wait "$nap"
  for keeper in "$nginx_keeper" "$haproxy_keeper" $sidecar_keeper; do
    if ! kill -0 "$keeper" 2>/dev/null; then
      say "a keeper is gone; the container ends so that the engine starts it anew"
      exit 1
    fi
  done
done

kill "$nap" 2>/dev/null
say "stopping"
for keeper in $sidecar_keeper "$nginx_keeper" "$haproxy_keeper"; do kill -TERM "$keeper" 2>/dev/null; done
uptime_seconds
deadline=$((seconds + grace))
while :; do
  left=''
  for keeper in "$nginx_keeper" "$haproxy_keeper" $sidecar_keeper; do
    if kill -0 "$keeper" 2>/dev/null && ! grep -q '^State:.Z' "/proc/$keeper/status" 2>/dev/null; then left=1; fi
  done
  uptime_seconds
  if [ -z "$left" ] || [ "$seconds" -ge "$deadline" ]; then break; fi
  sleep 0.1
done
# What is left dies with this container's first process.
exit 0
