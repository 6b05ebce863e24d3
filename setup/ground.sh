# The ground of this host: identity, Consul, ACLs, agent, control, and the CLI's own Node.
# shellcheck shell=bash

COMPOSE_ENV=$STATE/setup/compose.env

compose() { docker compose -p "$COMPOSE_PROJECT" --env-file "$COMPOSE_ENV" -f "$REPO/compose/xcaas.yml" "$@"; }
is_manager() { [[ $(host_field manager) == true ]]; }
is_member() { [[ -f $STATE/host.json && -f $STATE/pki/host.pem ]]; }

prepare_folders() {
  mkdir -p "$STATE/setup" "$RUN"
  chmod 755 "$STATE" "$RUN"
  # Secrets of members lie in memory only. /run is that on nearly every machine.
  if [[ $(stat -f -c %T "$RUN") != tmpfs ]] && ! mountpoint -q "$RUN"; then
    note "$RUN is on a disk: a tmpfs is mounted there"
    mount -t tmpfs -o mode=755,size=64m xcaas "$RUN" || warn "no tmpfs could be mounted on $RUN: secrets of members will lie on disk"
  fi
  # Every name compose needs is here, so that a container can be made again with the file alone.
  cat >"$COMPOSE_ENV.new" <<ENV
XCAAS_ROOT=$ROOT
XCAAS_STATE=$STATE
XCAAS_RUN=$RUN
XCAAS_VERSION=$VERSION
XCAAS_CONSUL_VERSION=$(consul_version)
XCAAS_DOCKER_SOCKET=$(engine_socket)
ENV
  mv "$COMPOSE_ENV.new" "$COMPOSE_ENV"
}

# host_program ARGUMENT...: host.mjs in a container that is gone afterwards. Its word is on stdout, its progress among ours.
host_program() {
  docker run --rm --network host --label xcaas.kind=setup -e "XCAAS_ROOT=$ROOT" -e "XCAAS_CONSUL_VERSION=$(consul_version)" \
    -v "$STATE:$STATE" -v "$RUN:$RUN" "$(image_tag control)" node /app/host.mjs "$@" \
    2> >(sed -u "s/^/       /" >&2)
}

# The value of a label of this host's engine (daemon.json), or nothing.
engine_label() { docker info -f '{{range .Labels}}{{println .}}{{end}}' 2>/dev/null | sed -n "s/^$1=//p" | head -n 1; }

# Arguments that name this host; what was not said is left to what is known of it, at first to the labels of its engine.
host_arguments() {
  if [[ ! -f $STATE/host.json ]]; then
    [[ -n ${GROUP:-} ]] || GROUP=$(engine_label com.alipay.acs.topic.group)
    [[ -n ${RACK:-} ]] || RACK=$(engine_label com.alipay.acs.topic.rack)
  fi
  printf '%s\n' --name "$NAME" --address "$ADDRESS"
  [[ -z ${GROUP:-} ]] || printf '%s\n' --group "$GROUP"
  [[ -z ${RACK:-} ]] || printf '%s\n' --rack "$RACK"
  local label
  for label in ${LABELS[@]+"${LABELS[@]}"}; do printf '%s\n' --label "$label"; done
}

found_pool() {
  local arguments answer
  mapfile -t arguments < <(host_arguments)
  answer=$(host_program init "${arguments[@]}") || exit $?
  start_consul "$([[ $answer == *'"consulChanged":true'* ]] && echo changed)"
}

start_consul() {
  local running
  running=$(docker ps -q --filter name='^xcaas-consul$')
  compose_up consul
  if [[ ${1:-} == changed && -n $running && $running == "$(docker ps -q --filter name='^xcaas-consul$')" ]]; then
    note 'its configuration changed: starting Consul again'
    logged 'restarting consul' docker restart xcaas-consul
  fi
}

found_acl() { host_program acl --profile-out "$STATE/profile.json" >/dev/null || exit $?; }

compose_up() {
  logged "starting $*" compose up -d --no-deps --pull never "$@" ||
    die unavailable "$* could not be started." "See $LOG and: docker logs xcaas-$1" 'Then repeat the command: what is done is kept.'
}

start_programs() {
  compose_up agent
  if is_manager; then
    compose_up control
  else
    # There, so that a promotion needs nothing but a start.
    logged 'creating control' compose up --no-start --no-deps --pull never control || true
  fi
}

api_ready() { http_local 7400 /v1/health 2>/dev/null | grep -qE '"status": *"(ok|READY)"'; }
wait_ready() {
  wait_until "${1:-60}" 'http://127.0.0.1:7400/v1/health' api_ready && { note 'the API answers on http://127.0.0.1:7400'; return 0; }
  local name
  for name in consul agent control; do
    [[ $name != control ]] || is_manager || continue
    say "         $name ($(docker inspect -f '{{.State.Status}}, {{.RestartCount}} restarts' "xcaas-$name" 2>/dev/null)) says:"
    docker logs --tail 6 "xcaas-$name" 2>&1 | cut -c1-300 | sed 's/^/         | /' >&2
  done
  die timeout 'The ground was started and the API does not say that all is well.' 'See: docker logs xcaas-agent, docker logs xcaas-control, docker logs xcaas-consul' \
    'Repeating the command is safe.'
}

# The CLI runs on the host, with the Node of the control image: nothing else need be installed.
install_tools() {
  local id at container
  id=$(image_id "$(image_tag control)")
  at=$STATE/tools
  if [[ -x $at/node && -s $at/cli.mjs && $(cat "$at/image" 2>/dev/null) == "$id" ]]; then
    note 'CLI: up to date'
  else
    rm -rf "$at.new"
    mkdir -p "$at.new"
    container=$(docker create --label xcaas.kind=setup "$id")
    docker cp -q "$container:/usr/local/bin/node" "$at.new/node"
    docker cp -q "$container:/app/cli.mjs" "$at.new/cli.mjs"
    docker rm "$container" >/dev/null
    printf '%s' "$id" >"$at.new/image"
    chmod 755 "$at.new" "$at.new/node"
    chmod 644 "$at.new/cli.mjs"
    rm -rf "$at"
    mv "$at.new" "$at"
    note "CLI: $at"
  fi
  link_commands
}

# Commands get a link where everybody's PATH looks, unless something else has the name.
link_commands() {
  [[ -z $ROOT ]] || return 0
  local name link target taken=''
  for name in xcaas db lb cache fs; do
    link=/usr/local/bin/$name target=$REPO/bin/$name
    if [[ $(readlink "$link" 2>/dev/null) == "$target" ]]; then continue; fi
    # A link of ours that leads to a copy of the project that is gone.
    if [[ -L $link && ! -e $link && $(readlink "$link") == */bin/$name ]]; then rm -f "$link"; fi
    if [[ -e $link || -L $link ]]; then taken+=" $name"; else ln -s "$target" "$link"; fi
  done
  [[ -z $taken ]] || note "left alone in /usr/local/bin, because something else has the name:$taken (use $REPO/bin)"
}

# The profile for the user who typed the command, also under sudo.
install_profile() {
  [[ -s $STATE/profile.json ]] || return 0
  local target
  target=$(profile_path)
  [[ -n $target ]] || return 0
  if cmp -s "$STATE/profile.json" "$target"; then return 0; fi
  if [[ -s $target ]] && ! grep -q '127\.0\.0\.1:7400' "$target"; then
    warn "$target is of another pool and was left alone; this host's is $STATE/profile.json (export XCAAS_PROFILE=$STATE/profile.json)"
    return 0
  fi
  (umask 077 && mkdir -p "$(dirname "$target")" && cp "$STATE/profile.json" "$target.new" && mv "$target.new" "$target")
  if [[ -n ${SUDO_USER:-} && $SUDO_USER != root ]]; then chown "$SUDO_USER:" "$(dirname "$target")" "$target"; fi
  note "profile: $target"
}
profile_path() {
  local home=$HOME
  if [[ -n ${XCAAS_PROFILE:-} ]]; then printf '%s' "$XCAAS_PROFILE"; return 0; fi
  # Several hosts on one machine must not write over each other's; bin/* find each one's own (XCAAS_ROOT).
  if [[ -n $ROOT && $HOME != "$ROOT"/* ]]; then return 0; fi
  if [[ -n ${SUDO_USER:-} && $SUDO_USER != root ]]; then
    home=$(getent passwd "$SUDO_USER" | cut -d: -f6)
    printf '%s' "$home/.config/xcaas/profile.json"
    return 0
  fi
  printf '%s' "${XDG_CONFIG_HOME:-$home/.config}/xcaas/profile.json"
}
