# The address and the uplink of this host, and arithmetic on IPv4 networks.
# shellcheck shell=bash

valid_ipv4() {
  local part
  [[ $1 =~ ^([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,3})$ ]] || return 1
  for part in "${BASH_REMATCH[@]:1}"; do ((10#$part <= 255)) || return 1; done
}

# host_address: --advertise, else what this host was set up with, else the address of the default route's interface.
host_address() {
  local remembered dev
  if [[ -n ${ADVERTISE:-} ]]; then printf '%s' "$ADVERTISE"; return 0; fi
  remembered=$(host_field address)
  if [[ -n $remembered ]]; then printf '%s' "$remembered"; return 0; fi
  if ! have ip; then address_without_ip; return; fi
  dev=$(ip -4 route show default 2>/dev/null | sed -n 's/.* dev \([^ ]*\).*/\1/p' | head -n 1)
  if [[ -n $dev ]]; then
    ip -4 -o addr show dev "$dev" scope global | awk '{ sub(/\/.*/, "", $4); print $4; exit }'
    return 0
  fi
  # No way out of here: the only address there is, if it is the only one.
  local found
  found=$(ip -4 -o addr show scope global 2>/dev/null | awk '$2 !~ /^(docker|br-|veth)/ { sub(/\/.*/, "", $4); print $4 }')
  [[ $(wc -w <<<"$found") == 1 ]] && printf '%s' "$found"
}

# A bare machine has no iproute2 yet: the address that lies in the network of the default route's interface.
address_without_ip() {
  local address dev network mask a b
  dev=$(default_device)
  for address in $(hostname -I 2>/dev/null || true); do
    valid_ipv4 "$address" || continue
    while read -r a b; do
      network=$(hex_address "$a") mask=$(hex_address "$b")
      (((network & mask) == ($(ip_number "$address") & mask))) && { printf '%s' "$address"; return 0; }
    done < <(awk -v d="$dev" 'NR > 1 && $1 == d && $8 != "00000000" { print $2, $8 }' /proc/net/route)
  done
  return 1
}
default_device() { awk 'NR > 1 && $2 == "00000000" && $8 == "00000000" { print $1; exit }' /proc/net/route; }
# /proc writes addresses as little-endian hex.
hex_address() { printf '%s' $((16#${1:6:2} << 24 | 16#${1:4:2} << 16 | 16#${1:2:2} << 8 | 16#${1:0:2})); }

uplink_device() {
  local address
  if ! have ip; then default_device; return; fi
  address=$(host_address || true)
  [[ -n $address ]] && ip -4 -o addr show 2>/dev/null | awk -v a="$address" '{ split($4, p, "/"); if (p[1] == a) { print $2; exit } }'
}
uplink_mtu() {
  local dev mtu=
  dev=$(uplink_device || true)
  # Not from /sys: in a network namespace that was entered without its own /sys, that is the other namespace's.
  if ! have ip; then mtu=$(cat "/sys/class/net/$dev/mtu" 2>/dev/null || true)
  elif [[ -n $dev ]]; then mtu=$(ip -o link show dev "$dev" 2>/dev/null | sed -n 's/.* mtu \([0-9]*\).*/\1/p' || true); fi
  [[ $mtu =~ ^[0-9]+$ ]] || mtu=1500
  # Loopback and jumbo frames: what leaves may still cross links of 1500.
  ((mtu <= 9000)) || mtu=1500
  printf '%s' "$mtu"
}

# VXLAN takes 50 bytes of each packet.
overlay_mtu() { printf '%s' $(($(uplink_mtu) - 50)); }

ip_number() { local a b c d; IFS=. read -r a b c d <<<"$1"; printf '%s' $(((a << 24) + (b << 16) + (c << 8) + d)); }
# networks_overlap A/N B/M
networks_overlap() {
  local a=${1%/*} n=${1#*/} b=${2%/*} m=${2#*/} bits
  [[ $1 == */* ]] || n=32
  [[ $2 == */* ]] || m=32
  bits=$((n < m ? n : m))
  ((bits == 0)) && return 0
  (($(ip_number "$a") >> (32 - bits) == $(ip_number "$b") >> (32 - bits)))
}

# Address pool for overlay networks that overlaps none of this host's routes; empty when Swarm's own choice (10.0.0.0/8) will do.
swarm_address_pool() {
  local routes pool route free
  routes=$(ip -4 route show 2>/dev/null | awk '$1 ~ /^[0-9]/ && $0 !~ / dev (docker|br-|veth)/ { print $1 }')
  for pool in 10.0.0.0/8 10.212.0.0/16 172.29.0.0/16 192.168.192.0/18; do
    free=1
    for route in $routes; do
      if networks_overlap "$pool" "$route"; then free=0; break; fi
    done
    if ((free)); then
      [[ $pool == 10.0.0.0/8 ]] || printf '%s' "$pool"
      return 0
    fi
  done
}

# port_taken PORT tcp|udp: something of this network namespace listens there.
port_taken() {
  local hex file
  hex=$(printf '%04X' "$1")
  for file in /proc/self/net/"$2" /proc/self/net/"${2}6"; do
    [[ -r $file ]] || continue
    # State 0A is LISTEN; UDP sockets have no such state.
    awk -v port="$hex" -v kind="$2" 'NR > 1 { split($2, l, ":"); if (l[2] == port && (kind == "udp" || $4 == "0A")) found = 1 } END { exit !found }' "$file" && return 0
  done
  return 1
}
port_owner() {
  have ss || return 0
  ss -Hlnp"${2:0:1}" "sport = :$1" 2>/dev/null | sed -n 's/.*users:((\"\([^\"]*\)\",pid=\([0-9]*\).*/\1, pid \2/p' | head -n 1
}

# http_local PORT PATH: a plain GET on loopback with nothing but bash; prints the whole answer.
http_local() {
  exec 3<>"/dev/tcp/127.0.0.1/$1" || return 1
  printf 'GET %s HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n' "$2" >&3
  timeout 5 cat <&3
  exec 3<&- 3>&-
}

# host_field NAME: a plain text field of host.json.
host_field() {
  [[ -r $STATE/host.json ]] || return 0
  tr -d '\n' <"$STATE/host.json" | sed -n "s/.*\"$1\": *\"\{0,1\}\([^\",}]*\).*/\1/p"
}
