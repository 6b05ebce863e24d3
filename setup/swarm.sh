# Swarm and the overlay network of the pool. A Swarm that is there is used as it is; none is ever left, forced or made anew here.
# shellcheck shell=bash

SWARM_MARK=$STATE/setup/swarm
NETWORK=xcaas

swarm_state() { docker info --format '{{.Swarm.LocalNodeState}} {{.Swarm.ControlAvailable}}' 2>/dev/null; }

# An interface of Swarm's own that joins overlays to the host: Swarm makes it with 1500 whatever the uplink takes, unless it is there.
ensure_gateway_bridge() {
  local mtu
  mtu=$(uplink_mtu)
  ((mtu < 1500)) || return 0
  docker network inspect docker_gwbridge >/dev/null 2>&1 && return 0
  note "docker_gwbridge with an MTU of $mtu"
  logged 'creating docker_gwbridge' docker network create --driver bridge --label xcaas.kind=network --label xcaas.name=docker_gwbridge \
    --opt com.docker.network.bridge.name=docker_gwbridge --opt com.docker.network.bridge.enable_icc=false \
    --opt com.docker.network.bridge.enable_ip_masquerade=true --opt "com.docker.network.driver.mtu=$mtu" docker_gwbridge ||
    warn "docker_gwbridge could not be made with an MTU of $mtu; see $LOG"
}

ensure_swarm() {
  local state pool options=()
  state=$(swarm_state)
  case $state in
    'active true') note "the Swarm this engine is a manager of ($(docker info --format '{{.Swarm.Cluster.ID}}'))" ;;
    inactive*)
      ensure_gateway_bridge
      pool=$(swarm_address_pool)
      if [[ -n $pool ]]; then
        note "this host has routes into 10.0.0.0/8: overlay networks get $pool"
        options+=(--default-addr-pool "$pool")
      fi
      mkdir -p "$STATE/setup"
      # Before it is made: an interrupted run must know what it may undo.
      echo init >"$SWARM_MARK"
      note "docker swarm init --advertise-addr $ADDRESS"
      logged 'docker swarm init' docker swarm init --advertise-addr "$ADDRESS" ${options[@]+"${options[@]}"} || {
        rm -f "$SWARM_MARK"
        die unavailable 'Swarm could not be started.' "See $LOG. Ports 2377/tcp, 7946/tcp+udp and 4789/udp must be free: ./xcaas doctor"
      } ;;
    'active false') die conflict 'This engine is a worker of a Swarm that this pool did not make.' \
      'Run ./xcaas up on one of its managers, or make this node one:  docker node promote NODE   (typed on a manager)' ;;
    *) die unavailable "The engine's Swarm is ${state%% *}." 'See: docker info. A locked one opens with: docker swarm unlock' ;;
  esac
  ensure_network
}

ensure_network() {
  local found
  found=$(docker network inspect -f '{{.Driver}} {{.Attachable}}' "$NETWORK" 2>/dev/null || true)
  case $found in
    'overlay true') note "network $NETWORK: present"; return 0 ;;
    '') ;;
    *) die conflict "There is a network called $NETWORK that is no attachable overlay ($found). It was not touched." "Give it another name, or remove it:  docker network rm $NETWORK" ;;
  esac
  note "network $NETWORK, an attachable overlay with an MTU of $(overlay_mtu)"
  logged "creating network $NETWORK" docker network create --driver overlay --attachable --opt "com.docker.network.driver.mtu=$(overlay_mtu)" \
    --label xcaas.kind=network --label "xcaas.name=$NETWORK" "$NETWORK" || die unavailable "The overlay network $NETWORK could not be created." "See $LOG."
}

# join_swarm TOKEN MANAGER
join_swarm() {
  local state
  state=$(swarm_state)
  case $state in
    active*)
      [[ -f $SWARM_MARK ]] || die conflict 'This engine is in a Swarm already, and not by us. It was not touched.' \
        'If it may be left:  docker swarm leave   (on a manager: first docker node demote), then repeat the command.'
      note 'in the Swarm of the pool' ;;
    inactive*)
      ensure_gateway_bridge
      mkdir -p "$STATE/setup"
      echo joined >"$SWARM_MARK"
      note "docker swarm join at $2"
      swarm_join() { docker swarm join --advertise-addr "$ADDRESS" --token "$1" "$2"; }
      logged 'docker swarm join' swarm_join "$1" "$2" || {
        # It goes on trying by itself after its own timeout: then it is in.
        wait_until 60 'the Swarm to take this node in' swarm_active || {
          rm -f "$SWARM_MARK"
          die unavailable "The Swarm at $2 did not take this node in." \
            "Ports 2377/tcp, 7946/tcp+udp and 4789/udp must be open between the hosts. See $LOG, then repeat the command."
        }
      } ;;
    *) die unavailable "The engine's Swarm is ${state%% *}." 'See: docker info' ;;
  esac
}
swarm_active() { [[ $(swarm_state) == active* ]]; }
