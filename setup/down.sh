# ./xcaas down: stops the control plane here; services go on with what they know. --purge removes all of it with its data, and nothing that was
# here before.
# shellcheck shell=bash

cmd_down() {
  local purge='' members
  while (($#)); do
    case $1 in
      --purge) purge=1 ;;
      --yes | -y) YES=1 ;;
      *) die usage "down does not know $1." "$(usage_line down)" ;;
    esac
    shift
  done
  ((EUID == 0)) || die forbidden 'Not root.' "sudo ./xcaas down"
  # Before anything is removed: is this a folder of ours at all?
  [[ $STATE == */var/lib/xcaas && $RUN == */run/xcaas ]] || die internal "Unexpected folders: $STATE, $RUN"
  if ! engine_answers; then
    [[ -n $purge ]] || { say 'No Docker Engine runs here: nothing of xCaaS does either.'; return 0; }
    [[ ! -d $STATE/setup || -f $STATE/setup/engine-started ]] || have docker || warn 'no Docker Engine answers: containers, networks and images cannot be looked for'
  fi
  down_plan "$purge"
  lock_setup
  step 'Stopping'
  if engine_answers; then
    down_programs
    [[ -z $purge ]] || purge_members
    down_consul "$purge"
  fi
  if [[ -n $purge ]]; then
    if engine_answers; then
      step 'Removing networks and Swarm'
      purge_networks
      purge_swarm
      step 'Removing images'
      purge_images
    fi
    step 'Removing state'
    purge_state
  fi
  step_table
  if ((${#KEPT[@]})); then
    say "Gone, but for what containers that are not ours stand on: $FOREIGN. Once they are removed, ./xcaas down --purge  ends it."
  elif [[ -n $purge ]]; then
    say 'Gone. Packages that were installed stay: the engine, compose, debootstrap.'
    [[ ! -f $NEXT_SOURCE || -n ${DOCKER_HOST:-} ]] || say "So does $NEXT_SOURCE, which the engine's updates come from; remove it together with docker.io."
  else
    say 'The control plane is stopped. Services, data, images and the Swarm stay:  ./xcaas up  starts it again,  ./xcaas down --purge  removes it.'
  fi
}

ground_containers() { docker ps -aq --filter 'label=xcaas.kind=ground' --filter "label=com.docker.compose.project=$COMPOSE_PROJECT"; }
member_containers() { docker ps -aq --filter 'label=xcaas.member' --filter 'label=xcaas.kind'; }

down_plan() {
  local members=''
  if engine_answers; then members=$(docker ps -a --filter 'label=xcaas.member' --filter 'label=xcaas.kind' --format '{{.Label "xcaas.kind"}} {{.Label "xcaas.name"}}: {{.Names}}' | sort); fi
  if [[ -n $members ]]; then
    say "Members of services on this host, which $([[ -n $1 ]] && printf 'stop and lose their data' || printf 'go on with what they know'):"
    sed 's/^/  /' <<<"$members" >&2
  fi
  if [[ -n $1 ]]; then
    confirm "Remove xCaaS from $(uname -n), with the data of all services on it?" || die usage 'Nothing was changed.'
  elif [[ -n $members ]]; then
    confirm "Stop the control plane on $(uname -n)?" || die usage 'Nothing was changed.'
  fi
}

# The agent first, for it starts what belongs here.
down_programs() {
  local name id
  for name in agent control; do
    id=$(docker ps -aq --filter "name=^xcaas-$name$" --filter 'label=xcaas.kind=ground')
    [[ -z $id ]] || { note "$name"; logged "stopping $name" docker rm -f -v "$(stop_gently "$id" 20)" || true; }
  done
}
stop_gently() { docker stop -t "$2" "$1" >/dev/null 2>&1 || true; printf '%s' "$1"; }

purge_members() {
  local id ids
  mapfile -t ids < <(member_containers)
  for id in ${ids[@]+"${ids[@]}"}; do
    note "$(docker inspect -f '{{.Name}}' "$id" | tr -d /)"
    docker stop -t 30 "$id" >/dev/null 2>&1 &
  done
  wait
  for id in ${ids[@]+"${ids[@]}"}; do logged 'removing a member' docker rm -f -v "$id" || true; done
}

# Consul last: what stops may still want to say so.
down_consul() {
  local id
  id=$(docker ps -aq --filter 'name=^xcaas-consul$' --filter 'label=xcaas.kind=ground')
  [[ -z $id ]] || { note consul; logged 'stopping consul' docker rm -f -v "$(stop_gently "$id" 10)" || true; }
  # What an interrupted setup left.
  for id in $(docker ps -aq --filter 'label=xcaas.kind=setup') $([[ -z $1 ]] || ground_containers); do docker rm -f -v "$id" >/dev/null 2>&1 || true; done
  [[ -n $1 ]] || return 0
  for id in $(docker volume ls -q --filter 'label=xcaas.kind'); do logged "removing volume $id" docker volume rm "$id" || warn "volume $id is in use and was left"; done
}

# Marks of what `up` made and could not be undone yet, as FILE=CONTENT: the next purge must know that it may.
KEPT=() FOREIGN=
keep_mark() { KEPT+=("$1=$(cat "$STATE/setup/$1" 2>/dev/null || true)"); }

# Containers that are not ours and have an address on an overlay network: without the Swarm they would lose it.
foreign_on_overlays() {
  local id network
  for id in $(docker ps -q); do
    for network in $(docker inspect -f '{{range .NetworkSettings.Networks}}{{.NetworkID}} {{end}}' "$id" 2>/dev/null || true); do
      if [[ $(docker network inspect -f '{{.Driver}}' "$network" 2>/dev/null) == overlay ]]; then
        docker inspect -f '{{.Name}}' "$id" | tr -d /
        break
      fi
    done
  done
}

purge_networks() {
  local name
  FOREIGN=$(foreign_on_overlays | paste -sd ' ')
  for name in $(docker network ls -q --filter 'label=xcaas.kind=network' --filter driver=overlay); do
    docker network rm "$name" >>"$LOG" 2>&1 || warn "network $(docker network inspect -f '{{.Name}}' "$name" 2>/dev/null || echo "$name") is in use by containers that are not ours, and was left"
  done
}

purge_swarm() {
  local kind=''
  [[ ! -f $SWARM_MARK ]] || kind=$(<"$SWARM_MARK")
  if [[ -n $kind ]] && swarm_active; then
    if [[ -n $(docker service ls -q 2>/dev/null || true) ]]; then
      warn 'services run on this Swarm that are not ours: it was left as it is (docker service ls)'
      FOREIGN=${FOREIGN:-its services}
      keep_mark swarm
      return 0
    fi
    if [[ -n $FOREIGN ]]; then
      warn "containers that are not ours have addresses on overlay networks: the Swarm was left as it is ($FOREIGN)"
      keep_mark swarm
      return 0
    fi
    note "leaving the Swarm that $([[ $kind == init ]] && echo 'up made' || echo 'join joined')"
    if [[ $kind == init ]]; then logged 'leaving the Swarm' docker swarm leave --force || true
    else
      logged 'leaving the Swarm' docker swarm leave || logged 'leaving the Swarm' docker swarm leave --force || true
      note "the pool still lists this host; on another one:  xcaas node remove $(host_field name)"
    fi
  fi
  # The bridge that Swarm used is ours only if its label says so.
  for kind in $(docker network ls -q --filter 'label=xcaas.kind=network'); do docker network rm "$kind" >>"$LOG" 2>&1 || true; done
}

purge_images() {
  local id
  for id in $(docker image ls -q --filter "label=$INPUTS_LABEL" --filter 'reference=xcaas/*' | sort -u); do docker rmi -f "$id" >>"$LOG" 2>&1 || true; done
  for id in $(docker image ls -q --filter "label=$INPUTS_LABEL" --filter dangling=true); do docker rmi "$id" >>"$LOG" 2>&1 || true; done
  # Stand-ins made here; other people's images may stand on them, then they stay.
  for id in "$NODE_BASE" "$DEBIAN_BASE"; do
    if [[ $(image_label "$id" xcaas.standin) == true ]]; then docker rmi "$id" >>"$LOG" 2>&1 || note "$id is in use and was left"; fi
  done
  case $(cat "$CACHE_MARK" 2>/dev/null || true) in
    ours)
      note 'emptying the build cache'
      BUILDX_BUILDER=default docker builder prune --all --force >>"$LOG" 2>&1 || true ;;
    shared) note 'the build cache was not empty before up and was left: docker builder prune' ;;
  esac
}

purge_state() {
  local name link target stop_engine='' mark
  target=$(profile_path)
  if [[ -n $target && -s $STATE/profile.json ]] && cmp -s "$target" "$STATE/profile.json"; then
    rm -f "$target"
    rmdir "$(dirname "$target")" 2>/dev/null || true
  fi
  if [[ -z $ROOT ]]; then
    for name in xcaas db lb cache fs; do
      link=/usr/local/bin/$name
      if [[ $(readlink "$link" 2>/dev/null) == "$REPO/bin/$name" ]]; then rm -f "$link"; fi
    done
  fi
  [[ ! -f $STATE/setup/engine-started || -n ${DOCKER_HOST:-} ]] || stop_engine=1
  if mountpoint -q "$RUN" && [[ $(findmnt -no SOURCE "$RUN" 2>/dev/null) == xcaas ]]; then umount "$RUN" || true; fi
  rm -rf --one-file-system "$RUN"
  rm -rf --one-file-system "$STATE"
  if [[ -n $stop_engine ]]; then stop_own_engine; fi
  for mark in ${KEPT[@]+"${KEPT[@]}"}; do
    mkdir -p "$STATE/setup"
    printf '%s' "${mark#*=}" >"$STATE/setup/${mark%%=*}"
  done
  # An engine that goes on writes there.
  [[ " ${KEPT[*]-} " == *' engine-started='* ]] || rm -rf --one-file-system "$LOG_DIR"
  # The log is gone: what follows goes nowhere.
  LOG=/dev/null
}

# An engine that `up` started without an init system is stopped again, if nothing else runs on it.
stop_own_engine() {
  local pid
  if engine_answers && [[ -n $(docker ps -aq) ]]; then
    note "the dockerd that up started goes on: there are containers that are not ours ($(docker ps -a --format '{{.Names}}' | paste -sd ' '))"
    FOREIGN=${FOREIGN:-$(docker ps -a --format '{{.Names}}' | paste -sd ' ')}
    KEPT+=('engine-started=')
    return 0
  fi
  pid=$(cat /var/run/docker.pid 2>/dev/null || true)
  [[ $pid =~ ^[0-9]+$ && $(cat "/proc/$pid/comm" 2>/dev/null) == dockerd ]] || return 0
  note 'stopping the dockerd that up started'
  kill "$pid"
  wait_until 30 'dockerd to end' bash -c "! kill -0 $pid" || true
}
