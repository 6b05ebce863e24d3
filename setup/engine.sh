# Docker Engine, compose and buildx: what is there is used as it is; what is missing is installed; an engine that does not run is started.
# shellcheck shell=bash

ENGINE_MINIMUM=24
NEXT_SOURCE=/etc/apt/sources.list.d/xcaas-next-release.sources
NEXT_PIN=/etc/apt/preferences.d/xcaas-next-release.pref

engine_socket() {
  local host=${DOCKER_HOST:-}
  [[ -n $host ]] || host=unix:///var/run/docker.sock
  [[ $host == unix://* ]] || die usage "DOCKER_HOST is $host; a host of the pool needs the engine of this machine, on a unix socket." \
    'Run this on the machine itself, with DOCKER_HOST unset or unix:///path/to/docker.sock'
  printf '%s' "${host#unix://}"
}
engine_answers() { have docker && timeout 10 docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }
engine_version() { docker version --format '{{.Server.Version}}' 2>/dev/null; }
systemd_runs() { [[ -d /run/systemd/system ]]; }

# engine_choice: how an engine will come: present | start | docker-ce | distribution | next | unread | none
# unread: the package lists of a machine that was just made are empty; `up` reads them first and then knows.
engine_choice() {
  if engine_answers; then echo present
  elif [[ -n ${DOCKER_HOST:-} ]]; then echo none
  elif have dockerd && (($(dockerd --version 2>/dev/null | sed -n 's/^Docker version \([0-9]*\).*/\1/p') >= ENGINE_MINIMUM)); then echo start
  elif ! have apt-cache; then echo none
  elif [[ -z $(apt_candidate apt-utils) && -z ${APT_UPDATED:-} ]]; then echo unread
  elif [[ -n $(apt_candidate docker-ce) ]]; then echo docker-ce
  elif (($(candidate_major docker.io) >= ENGINE_MINIMUM)); then echo distribution
  elif debian_source >/dev/null; then echo next
  else echo none; fi
}
apt_candidate() { LC_ALL=C apt-cache policy "$1" 2>/dev/null | sed -n 's/^  Candidate: //p' | grep -v '(none)' || true; }
candidate_major() { local v; v=$(apt_candidate "$1"); v=${v#*:}; v=${v%%.*}; [[ $v =~ ^[0-9]+$ ]] || v=0; echo "$v"; }

engine_choice_text() {
  case $1 in
    present) echo "use the Docker Engine $(engine_version) that runs here, as it is configured" ;;
    start) echo 'start the Docker Engine that is installed' ;;
    docker-ce) echo "install docker-ce $(apt_candidate docker-ce) from the Docker repository configured here, and start it" ;;
    distribution) echo "install docker.io $(apt_candidate docker.io) from this distribution, and start it" ;;
    next) echo "install docker.io from Debian $NEXT_RELEASE (writes $NEXT_SOURCE and a pin of 100, so nothing else comes from there), and start it" ;;
    unread) echo "read the package lists, then install docker-ce if its repository is configured, or docker.io of this distribution or of Debian $NEXT_RELEASE, and start it" ;;
    none) echo 'no way to get a Docker Engine was found' ;;
  esac
}

ensure_engine() {
  if [[ -n ${DOCKER_HOST:-} ]]; then
    engine_answers || die unavailable "The engine at $DOCKER_HOST does not answer." 'Start it, or unset DOCKER_HOST.'
  elif ! engine_answers; then
    local choice
    apt_update_for_engine
    choice=$(engine_choice)
    case $choice in
      start) ;;
      docker-ce | distribution | next) install_engine "$choice" ;;
      *) die unavailable 'This machine has no Docker Engine and no package source that one could come from.' \
        'Install Docker Engine 24 or later (docs.docker.com/engine/install), start it, then repeat the command.' ;;
    esac
    start_engine
  fi
  note "Docker Engine $(engine_version)"
  local major
  major=$(engine_version | cut -d. -f1)
  [[ $major =~ ^[0-9]+$ ]] && ((major >= ENGINE_MINIMUM)) ||
    die unavailable "The Docker Engine here is $(engine_version); $ENGINE_MINIMUM or later is needed. It was not touched." \
      'Upgrade it, for example:  apt-get install docker-ce   (Docker repository)   or   docker.io of a later Debian release'
  ensure_compose
  ensure_builder
}
apt_update_for_engine() {
  have apt-get || return 0
  # A machine that was just made has no package lists at all: without them no candidate can be seen.
  if have dockerd; then return 0; fi
  apt_update
}

# Each way that fails leads to the next one, and says so.
install_engine() {
  local ways way
  case $1 in docker-ce) ways='docker-ce distribution next' ;; distribution) ways='distribution next' ;; *) ways=next ;; esac
  for way in $ways; do
    case $way in
      docker-ce) note "docker-ce $(apt_candidate docker-ce)"
        logged 'installing docker-ce' apt_install docker-ce docker-ce-cli containerd.io docker-buildx-plugin docker-compose-plugin iptables $(authorities_package) && return 0
        note 'docker-ce could not be installed; trying the distribution' ;;
      distribution)
        (($(candidate_major docker.io) >= ENGINE_MINIMUM)) || continue
        note "docker.io $(apt_candidate docker.io)"
        logged 'installing docker.io' apt_install docker.io "$(first_candidate docker-cli docker.io)" "$(first_candidate docker-compose docker-compose-v2)" "$(first_candidate docker-buildx docker.io)" iptables $(authorities_package) && return 0
        note "the distribution's docker.io could not be installed; trying Debian $NEXT_RELEASE" ;;
      next) add_next_release || continue
        note "docker.io of Debian $NEXT_RELEASE"
        logged "installing docker.io of $NEXT_RELEASE" apt_install "docker.io/$NEXT_RELEASE" "docker-cli/$NEXT_RELEASE" "docker-compose/$NEXT_RELEASE" "docker-buildx/$NEXT_RELEASE" iptables $(authorities_package) && return 0 ;;
    esac
  done
  die unavailable 'No Docker Engine could be installed.' "What was tried stands in $LOG." \
    'Install Docker Engine 24 or later by hand (docs.docker.com/engine/install), then repeat the command.'
}
# Installing it writes the bundle anew: where one is, somebody may have put an authority of their own into it.
authorities_package() { [[ -s /etc/ssl/certs/ca-certificates.crt ]] || echo ca-certificates; }
first_candidate() { local name; for name in "$@"; do if [[ -n $(apt_candidate "$name") ]]; then echo "$name"; return 0; fi; done; echo "$1"; }

add_next_release() {
  [[ -f $NEXT_SOURCE ]] && { apt_update; return 0; }
  local source uri key
  source=$(debian_source) || { note 'this machine has no Debian package source to copy'; return 1; }
  read -r uri _ key <<<"$source"
  key=$(debian_keyring "$key") || { note "no archive keyring of Debian's"; return 1; }
  printf 'Package: *\nPin: release n=%s\nPin-Priority: 100\n' "$NEXT_RELEASE" >"$NEXT_PIN"
  printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n' "$uri" "$NEXT_RELEASE" "$key" >"$NEXT_SOURCE"
  APT_UPDATED=
  apt_update
  # A mirror that is a frozen copy: its lists of a release in the making are out of date by design. They are signed all the same.
  if tail -n 40 "$LOG" | grep -q "/$NEXT_RELEASE/.*is expired"; then
    note "the mirror's list of $NEXT_RELEASE is older than its date allows: taking it all the same"
    printf 'Check-Valid-Until: no\n' >>"$NEXT_SOURCE"
    APT_UPDATED=
    apt_update
  fi
  [[ -n $(apt-cache madison docker.io 2>/dev/null | grep "$NEXT_RELEASE/" || true) ]] && return 0
  rm -f "$NEXT_SOURCE" "$NEXT_PIN"
  note "$uri has no $NEXT_RELEASE"
  return 1
}

start_engine() {
  engine_answers && return 0
  if systemd_runs; then
    logged 'starting docker' systemctl enable --now docker || true
  else
    start_engine_detached
  fi
  wait_until 60 'the Docker Engine' engine_answers && return 0
  tail -n 15 "$LOG_DIR/dockerd.log" 2>/dev/null | sed 's/^/         | /' >&2
  die unavailable 'The Docker Engine was started and does not answer.' \
    "See $(systemd_runs && echo 'journalctl -u docker' || echo "$LOG_DIR/dockerd.log"). Often: no iptables in the kernel, or cgroups not mounted." \
    'Check this machine with:  ./xcaas doctor'
}

# No init system: a session of its own, so that it outlives this shell and its terminal.
start_engine_detached() {
  local options=() mtu
  mtu=$(uplink_mtu)
  # docker0 is 1500 unless told; a file of the owner's, where there is one, is the owner's word.
  if [[ ! -e /etc/docker/daemon.json ]] && ((mtu < 1500)); then options+=("--mtu=$mtu"); fi
  mkdir -p "$LOG_DIR" "$STATE/setup"
  # Left by an engine that was killed with its machine.
  if [[ -f /var/run/docker.pid ]] && ! kill -0 "$(</var/run/docker.pid)" 2>/dev/null; then rm -f /var/run/docker.pid; fi
  note "no init system runs here: starting dockerd on its own (log: $LOG_DIR/dockerd.log)"
  setsid dockerd ${options[@]+"${options[@]}"} >>"$LOG_DIR/dockerd.log" 2>&1 </dev/null 9>&- &
  disown
  : >"$STATE/setup/engine-started"
}

compose_works() { docker compose version >/dev/null 2>&1; }
ensure_compose() {
  compose_works && return 0
  note 'docker compose is missing'
  if have apt-get; then
    apt_update
    if [[ -n $(apt_candidate docker-compose-plugin) ]]; then logged 'installing compose' apt_install docker-compose-plugin || true
    elif [[ -n $(apt_candidate docker-compose-v2) ]]; then logged 'installing compose' apt_install docker-compose-v2 || true
    elif (($(candidate_major docker-compose) >= 2)); then logged 'installing compose' apt_install docker-compose || true
    elif add_next_release; then logged 'installing compose' apt_install "docker-compose/$NEXT_RELEASE" || true; fi
  fi
  compose_works || die unavailable 'docker compose could not be installed.' 'Install the compose plugin (2.x) by hand, then repeat the command.'
}

# buildx is better (secrets, caches); the classic builder does as well.
builder_is_buildkit() { docker buildx version >/dev/null 2>&1; }
ensure_builder() {
  install_builder
  # A cache that was empty before our first build is ours: a purge may empty it again.
  if [[ ! -f $CACHE_MARK ]] && builder_is_buildkit; then
    mkdir -p "$STATE/setup"
    if BUILDX_BUILDER=default docker buildx du 2>/dev/null | grep -qE '^Total:[[:space:]]+0B'; then echo ours >"$CACHE_MARK"; else echo shared >"$CACHE_MARK"; fi
  fi
}
CACHE_MARK=$STATE/setup/build-cache
install_builder() {
  builder_is_buildkit && return 0
  have apt-get || return 0
  if [[ -n $(apt_candidate docker-buildx-plugin) ]]; then logged 'installing buildx' apt_install docker-buildx-plugin || true
  elif [[ -n $(apt_candidate docker-buildx) ]]; then logged 'installing buildx' apt_install docker-buildx || true
  elif [[ -f $NEXT_SOURCE ]]; then logged 'installing buildx' apt_install "docker-buildx/$NEXT_RELEASE" || true; fi
  builder_is_buildkit || note "no buildx: images are built with the classic builder"
}
