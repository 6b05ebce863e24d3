# What would fail later, found before anything is changed. Each line: pass, warn or fail, what was found, and how to mend it.
# shellcheck shell=bash

PREFLIGHT_FAILED=0 PREFLIGHT_WARNED=0
# check STATUS ID FOUND [FIX]: passes are shown by doctor only.
check() {
  local status=$1 id=$2 found=$3 fix=${4:-} colour=$GREEN
  case $status in
    fail) colour=$RED PREFLIGHT_FAILED=$((PREFLIGHT_FAILED + 1)) ;;
    warn) colour=$YELLOW PREFLIGHT_WARNED=$((PREFLIGHT_WARNED + 1)) ;;
    pass) [[ -n ${DOCTOR:-} ]] || return 0 ;;
  esac
  printf '%s%-4s%s  %-10s %s\n' "$colour" "$status" "$PLAIN" "$id" "$found" >&2
  [[ -z $fix ]] || printf '                 fix: %s\n' "$fix" >&2
}

preflight() {
  check_root
  check_system
  check_address
  check_disk
  check_memory
  settle_swarm
  check_ports
  check_kernel
  check_engine
  check_swarm
  check_mtu
}

# preflight_or_die: for `up` and `join`; warnings are shown and go on.
preflight_or_die() {
  preflight
  ((PREFLIGHT_FAILED == 0)) || die unavailable "$PREFLIGHT_FAILED thing(s) above would fail later. Nothing was changed." 'Mend them, then repeat the command.'
}

check_root() {
  if ((EUID == 0)); then check pass root 'running as root'
  else check fail root 'not root: packages, the engine and /var/lib/xcaas need it' 'sudo ./xcaas ...'; fi
}

check_system() {
  local name arch
  name=$(. /etc/os-release 2>/dev/null && printf '%s' "${PRETTY_NAME:-unknown}")
  arch=$(uname -m)
  case $arch in
    x86_64 | aarch64) check pass system "$name, $arch, Linux $(uname -r)" ;;
    *) check fail system "$arch is not supported" 'use a machine with amd64 or arm64' ;;
  esac
  have ip || check pass system 'no iproute2 yet; up installs it'
}

check_address() {
  local address remembered
  address=$(host_address || true)
  remembered=$(host_field address)
  if [[ -z $address ]]; then
    check fail address 'this host has several addresses and no default route' './xcaas up --advertise ADDRESS   (the address that other hosts reach this one at)'
  elif ! valid_ipv4 "$address"; then
    check fail address "$address is not an IPv4 address" './xcaas up --advertise ADDRESS'
  elif have ip && [[ -z $(uplink_device || true) ]]; then
    check fail address "$address is not an address of this host" "use one of: $(ip -4 -o addr show scope global | awk '{ sub(/\/.*/, "", $4); print $4 }' | tr '\n' ' ')"
  elif [[ -n $remembered && $remembered != "$address" ]]; then
    check fail address "this host is in its pool as $remembered, not $address" 'leave --advertise out; an address changes only by leaving the pool and joining again'
  elif [[ $address == 127.* ]]; then
    check warn address "$address: no other host can join" '--advertise ADDRESS'
  else
    check pass address "$address on $(uplink_device)"
  fi
}

# Images take about 1.5 GB with their build, members' data comes on top.
check_disk() {
  local at free_mb
  for at in "$(docker_root)" "$STATE"; do
    free_mb=$(free_megabytes "$at")
    if ((free_mb < 3000)); then check fail disk "$at: $((free_mb / 1024)).$((free_mb % 1024 * 10 / 1024)) GiB free, 3 GiB are needed" "make room, or move $at to a larger disk"
    elif ((free_mb < 10000)); then check warn disk "$at: $((free_mb / 1024)) GiB free; services with data want more" 'make room before creating databases or file systems'
    else check pass disk "$at: $((free_mb / 1024)) GiB free"; fi
    # By device: the engine mounts its own folder onto itself.
    [[ $(df --output=source "$(existing_parent "$at")" | tail -n 1) != $(df --output=source "$(existing_parent "$STATE")" | tail -n 1) ]] || break
  done
}
docker_root() { local root=; engine_answers && root=$(docker info --format '{{.DockerRootDir}}' 2>/dev/null); printf '%s' "${root:-/var/lib/docker}"; }
existing_parent() { local at=$1; until [[ -e $at ]]; do at=$(dirname "$at"); done; printf '%s' "$at"; }
free_megabytes() { df -Pm "$(existing_parent "$1")" | awk 'NR == 2 { print $4 }'; }

check_memory() {
  local megabytes
  megabytes=$(awk '$1 == "MemTotal:" { print int($2 / 1024) }' /proc/meminfo)
  if ((megabytes < 900)); then check fail memory "$megabytes MiB; the ground alone wants 512 MiB" 'use a machine with 1 GiB or more'
  elif ((megabytes < 2000)); then check warn memory "$megabytes MiB: room for the ground and little else"
  else check pass memory "$((megabytes / 1024)) GiB"; fi
}

# A run that was killed while it made or joined a Swarm: the engine goes on with it for a moment, and its ports are taken before it says so.
settle_swarm() {
  [[ -f $STATE/setup/swarm ]] && engine_answers || return 0
  wait_until 30 'the engine to end what it does with its Swarm' swarm_settled || true
}
swarm_settled() {
  case $(docker info --format '{{.Swarm.LocalNodeState}}' 2>/dev/null) in
    pending) return 1 ;;
    inactive) ! port_taken 2377 tcp ;;
  esac
}

# Ports that are ours already are ours; Swarm's are Swarm's when this engine is in one.
check_ports() {
  local port taken='' ours='' swarm=inactive
  if engine_answers; then
    ours=$(docker ps -q --filter "label=com.docker.compose.project=$COMPOSE_PROJECT" --filter 'label=xcaas.kind=ground' 2>/dev/null || true)
    swarm=$(docker info --format '{{.Swarm.LocalNodeState}}' 2>/dev/null || true)
  fi
  if [[ -z $ours ]]; then
    for port in 7400 7401 7402 8300 8301; do port_taken "$port" tcp && taken+=" $port/tcp$(owner_text "$port" tcp)"; done
  fi
  if [[ $swarm != active ]]; then
    for port in 2377 7946; do port_taken "$port" tcp && taken+=" $port/tcp$(owner_text "$port" tcp)"; done
    port_taken 4789 udp && taken+=" 4789/udp$(owner_text 4789 udp)"
  fi
  if [[ -n $taken ]]; then check fail ports "taken:$taken" 'stop what listens there (ss -ltnup shows it), or use another machine'
  else check pass ports '7400-7402 and 8300-8301 (ours), 2377, 7946 and 4789 (Swarm)'; fi
}
owner_text() { local owner; owner=$(port_owner "$@"); [[ -z $owner ]] || printf ' (%s)' "$owner"; }

# The kernel is asked to make one of each, since modules load on demand and lists of them say little.
check_kernel() {
  local kind missing=''
  if have ip && ((EUID == 0)); then
    for kind in bridge vxlan veth; do link_works "$kind" || missing+=" $kind"; done
  fi
  grep -qw overlay /proc/filesystems || { have modprobe && modprobe overlay 2>/dev/null; } || missing+=' overlay'
  if [[ -n $missing ]]; then check fail kernel "cannot do:$missing" "apt-get install linux-image-$(dpkg --print-architecture 2>/dev/null || echo amd64), reboot; or: modprobe$missing"
  else check pass kernel 'bridge, vxlan, veth, overlay'; fi
  [[ -d /sys/fs/cgroup && -n $(ls -A /sys/fs/cgroup 2>/dev/null) ]] || check fail cgroups 'no cgroups are mounted on /sys/fs/cgroup' 'mount -t cgroup2 none /sys/fs/cgroup'
  if have iptables; then
    if iptables -w 5 -t nat -S >/dev/null 2>&1; then check pass iptables "$(iptables --version)"
    else check fail iptables 'iptables cannot reach the kernel' 'update-alternatives --set iptables /usr/sbin/iptables-nft   or -legacy, whichever works'; fi
  elif [[ -z ${DOCKER_HOST:-} ]]; then check pass iptables 'not installed yet; it comes with the engine'; fi
}
link_works() {
  local name=xcprobe$((BASHPID % 10000)) options=() status=0
  case $1 in vxlan) options=(id 4242 dstport 0 dev lo) ;; esac
  ip link add "$name" type "$1" ${options[@]+"${options[@]}"} >/dev/null 2>&1 || status=1
  ip link del "$name" >/dev/null 2>&1 || true
  return "$status"
}

check_engine() {
  if ! engine_answers; then
    local choice
    choice=$(engine_choice)
    if [[ -n ${DOCKER_HOST:-} ]]; then check fail engine "nothing answers at $DOCKER_HOST" 'start that engine, or unset DOCKER_HOST'
    elif [[ $choice == none ]]; then check fail engine "none runs, and $(engine_choice_text none)" 'install Docker Engine 24 or later (docs.docker.com/engine/install)'
    else check pass engine "none runs; up would $(engine_choice_text "$choice")"; fi
    return 0
  fi
  local info version live driver security
  info=$(docker info --format '{{.ServerVersion}}|{{.LiveRestoreEnabled}}|{{.Driver}}|{{.SecurityOptions}}' 2>/dev/null || true)
  IFS='|' read -r version live driver security <<<"$info"
  if [[ ${version%%.*} =~ ^[0-9]+$ ]] && ((${version%%.*} >= ENGINE_MINIMUM)); then check pass engine "$version, $driver"
  else check fail engine "$version is too old; $ENGINE_MINIMUM or later is needed" 'apt-get install docker-ce (Docker repository), or docker.io of a later Debian release'; fi
  if [[ $live == true ]]; then
    check fail engine 'live-restore is on, which Swarm refuses' \
      'set "live-restore": false in /etc/docker/daemon.json, then: kill -HUP $(cat /var/run/docker.pid)   (containers keep running)'
  fi
  [[ $security != *rootless* ]] || check fail engine 'this engine is rootless: it has no overlay networks between hosts' "use the machine's engine: unset DOCKER_HOST"
  [[ $driver != vfs ]] || check warn engine 'the storage driver is vfs: every container copies its whole image' 'put /var/lib/docker on ext4 or xfs'
}

check_swarm() {
  engine_answers || return 0
  local state
  state=$(docker info --format '{{.Swarm.LocalNodeState}} {{.Swarm.ControlAvailable}}' 2>/dev/null || true)
  case $state in
    inactive*) check pass swarm 'in none yet' ;;
    'active true') check pass swarm "manager of the Swarm $(docker info --format '{{.Swarm.Cluster.ID}}'); it will be used as it is" ;;
    'active false')
      if [[ -f $STATE/setup/swarm ]]; then check pass swarm 'worker of the pool'
      else check fail swarm 'this engine is a worker of a Swarm that is not ours' 'run ./xcaas up on one of its managers, or promote this node there: docker node promote NODE'; fi ;;
    *) check fail swarm "the engine's Swarm is ${state%% *}" 'see: docker info; a locked one opens with: docker swarm unlock' ;;
  esac
}

check_mtu() {
  have ip || return 0
  local mtu gateway
  mtu=$(uplink_mtu)
  if ((mtu < 1280)); then check fail mtu "the uplink takes packets of $mtu bytes; overlay networks need 1280" 'raise the MTU of the uplink'
  elif ((mtu < 1500)); then check pass mtu "$mtu on the uplink: overlay networks get $(overlay_mtu)"
  else check pass mtu "$mtu on the uplink"; fi
  gateway=$(ip -o link show dev docker_gwbridge 2>/dev/null | sed -n 's/.* mtu \([0-9]*\).*/\1/p' || true)
  if [[ -n $gateway ]] && ((gateway > mtu)); then
    check warn mtu "docker_gwbridge takes $gateway, the uplink $mtu: large answers to clients outside may be lost" \
      "with no container on an overlay: docker network rm docker_gwbridge, then ./xcaas up makes it with $mtu"
  fi
}
