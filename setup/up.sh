# ./xcaas up and ./xcaas join
# shellcheck shell=bash

GROUP='' RACK='' LABELS=() ADVERTISE='' REGISTRY=${XCAAS_REGISTRY_PREFIX:-} NAME='' YES='' ADDRESS='' TOKEN=''

parse_host_options() {
  local word
  while (($#)); do
    word=$1
    case $word in
      --*=*) set -- "${word%%=*}" "${word#*=}" "${@:2}"; continue ;;
      --yes | -y) YES=1; shift ;;
      --group | --rack | --label | --advertise | --registry | --name)
        (($# > 1)) && [[ -n $2 ]] || die usage "$word needs a value." "$(usage_line "$VERB")"
        case $word in
          --group) GROUP=$(plain_name "$2" --group) ;;
          --rack) RACK=$(plain_name "$2" --rack) ;;
          --label) [[ $2 =~ ^[A-Za-z0-9][A-Za-z0-9._/-]*=[A-Za-z0-9._/:@-]*$ ]] || die usage "--label takes key=value of letters, digits and . _ / - : @, not \"$2\"."; LABELS+=("$2") ;;
          --advertise) valid_ipv4 "$2" || die usage "--advertise takes an IPv4 address, not \"$2\"."; ADVERTISE=$2 ;;
          --registry) [[ $2 =~ ^[A-Za-z0-9._:-]+(/[A-Za-z0-9._-]+)*$ ]] || die usage "--registry takes HOST/PREFIX, not \"$2\"."; REGISTRY=${2%/} ;;
          --name)
            NAME=${2,,}
            [[ $NAME =~ ^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$ ]] || die usage "--name takes a host name (letters, digits, \"-\" and \".\"), not \"$2\"." ;;
        esac || exit $?
        shift 2 ;;
      -*) die usage "$VERB does not know $word." "$(usage_line "$VERB")" ;;
      *)
        [[ $VERB == join && -z $TOKEN ]] || die usage "$VERB does not take \"$word\"." "$(usage_line "$VERB")"
        TOKEN=$word; shift ;;
    esac
  done
}
plain_name() {
  [[ $1 =~ ^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$ ]] || die usage "$2 takes a name of letters, digits, \".\", \"_\" and \"-\", not \"$1\"."
  printf '%s' "$1"
}

# Who this host is: as it was, as was said, or as the machine is called.
identify() {
  ADDRESS=$(host_address || true)
  local name
  name=$(host_field name)
  [[ -n $NAME ]] || NAME=${name:-$(machine_name)}
}
machine_name() {
  local name
  name=$(uname -n | tr '[:upper:]_' '[:lower:]-' | sed 's/[^a-z0-9.-]//g; s/^[.-]*//; s/[.-]*$//' | cut -c1-63)
  printf '%s' "${name:-host}"
}

# One at a time: a second run would see things half made.
lock_setup() {
  mkdir -p "$STATE/setup" "$LOG_DIR"
  chmod 700 "$LOG_DIR"
  # Not emptied by opening it: it names the run that has it.
  exec 9>>"$STATE/setup/lock"
  have flock || { sweep; return 0; }
  if ! flock -n 9; then
    local other
    other=$(tail -n 1 "$STATE/setup/lock" 2>/dev/null || true)
    if [[ ! $other =~ ^[0-9]+$ ]] || kill -0 "$other" 2>/dev/null; then
      die in_use 'Another ./xcaas is at work on this host.' 'Wait until it has ended, then repeat the command.'
    fi
    # The programs that a killed run had started hold the lock with it, and may be in the middle of a package.
    note 'a run that was killed left programs at work: waiting for them to end'
    flock -w 900 9 || die in_use 'Programs that a killed ./xcaas had started are still at work.' "See which:  fuser -v $STATE/setup/lock"
  fi
  echo $$ >"$STATE/setup/lock"
  sweep
}

cmd_up() {
  parse_host_options "$@"
  preflight_or_die
  identify
  if is_member && ! is_manager; then
    NEEDS_JOIN=1
    say "This host is ${NAME}, a member of a pool that others manage: bringing its ground up."
  fi
  show_plan up
  lock_setup
  step 'Docker Engine'
  need ip iproute2
  ensure_engine
  after_engine
  if [[ -z ${NEEDS_JOIN:-} ]]; then
    if [[ ! -f $STATE/setup/joined ]]; then
      step 'Base images'
      ensure_bases
      step 'Images of this project'
      ensure_images
    else
      images_missing && die not_found 'This host got its images from the pool and lacks some now.' 'On a host of the pool: xcaas join-token. Here: ./xcaas join TOKEN'
    fi
    step 'Swarm'
    ensure_swarm
  fi
  step 'Consul'
  prepare_folders
  if [[ -z ${NEEDS_JOIN:-} ]]; then
    found_pool
    found_acl
  else
    start_consul
  fi
  step 'Agent and control'
  start_programs
  install_tools
  install_profile
  wait_ready
  finish
}

cmd_join() {
  parse_host_options "$@"
  [[ -n $TOKEN ]] || die usage 'join needs a token.' 'On a host of the pool, xcaas join-token prints the command to type here.'
  read_token "$TOKEN"
  preflight_or_die
  identify
  show_plan join
  lock_setup
  step 'Docker Engine'
  need ip iproute2
  ensure_engine
  after_engine
  step 'Images, from the pool'
  scratch
  find_pool
  fetch_images
  step 'Joining the pool'
  prepare_folders
  join_pool
  step 'Swarm'
  join_swarm "$SWARM_TOKEN" "$SWARM_MANAGER"
  step 'Consul'
  start_consul changed
  step 'Agent'
  start_programs
  install_tools
  wait_ready 90
  finish
}

# What could not be looked at while there was no engine.
after_engine() {
  [[ -n ${ENGINE_WAS_MISSING:-} ]] || return 0
  check_engine
  check_swarm
  ((PREFLIGHT_FAILED == 0)) || die unavailable 'The engine is there now and cannot be used as it is; see above.' 'Mend it, then repeat the command.'
}

show_plan() {
  local choice todo=0
  choice=$(engine_choice)
  [[ $choice == present ]] || ENGINE_WAS_MISSING=1
  say ''
  say "This host: ${BOLD}${NAME}${PLAIN} at $ADDRESS$(plan_place)"
  plan_line "$([[ $choice == present ]] && echo ok || echo do)" "$(engine_choice_text "$choice")"
  if [[ $1 == join ]]; then
    plan_line do "fetch the images from the pool, by ID, and verify them"
    if [[ $choice == present ]] && swarm_active; then plan_line ok 'use the Swarm it is in'; else plan_line do "join the pool's Swarm"; fi
    plan_line do 'join the pool: certificate, tokens, Consul, agent'
  elif [[ -z ${NEEDS_JOIN:-} ]]; then
    if [[ $choice == present ]] && image_present "$DEBIAN_BASE" && image_present "$NODE_BASE"; then plan_line ok "base images $DEBIAN_BASE, $NODE_BASE"
    else plan_line do "pull the base images $DEBIAN_BASE and $NODE_BASE, or build stand-ins where no registry answers"; fi
    if [[ $choice == present ]] && ! images_missing; then plan_line ok "images of this project, version $VERSION; built again if the source changed"
    else plan_line do "build this project's images, version $VERSION"; fi
    if [[ $choice == present ]] && swarm_active; then plan_line ok 'use the Swarm this engine is in'
    else plan_line do "start a Swarm, advertised at $ADDRESS"; fi
    if [[ $choice == present ]] && docker network inspect "$NETWORK" >/dev/null 2>&1; then plan_line ok "overlay network $NETWORK"
    else plan_line do "create the overlay network $NETWORK, with an MTU of $(overlay_mtu)"; fi
    if is_member; then plan_line ok 'Consul, agent and control: started where they do not run'
    else plan_line do "found a pool: CA, Consul, agent, control; state in $STATE, the API on 127.0.0.1:7400"; fi
  fi
  say ''
  ((todo)) || return 0
  [[ -t 0 || -n $YES ]] || die usage 'This changes the machine, and there is no terminal to ask on.' "Repeat the command with --yes."
  confirm 'Go on?' || die usage 'Nothing was changed.'
}
plan_place() {
  local text=''
  [[ -z $GROUP ]] || text+=", group $GROUP"
  [[ -z $RACK ]] || text+=", rack $RACK"
  ((${#LABELS[@]} == 0)) || text+=", labels ${LABELS[*]}"
  printf '%s' "$text"
}
# plan_line do|ok TEXT: counts what is still to do in the caller's todo.
plan_line() {
  if [[ $1 == ok ]]; then say "  ${GREEN}ok${PLAIN}    $2"; else say "  ${BOLD}do${PLAIN}    $2"; todo=$((todo + 1)); fi
}

finish() {
  step_table
  say ''
  say "${GREEN}READY${PLAIN}  $NAME at $ADDRESS. Commands: $(commands_at)/{xcaas,db,lb,cache,fs}"
  if is_manager; then
    say "       add a host:   $(commands_at)/xcaas join-token     prints the one command to type there"
  fi
  if [[ -s $STATE/profile.json ]]; then
    say "       look:         $(commands_at)/xcaas status"
  else
    say "       commands here need a token of the pool: on a manager  xcaas token create  , here  export XCAAS_TOKEN=..."
  fi
}
commands_at() { if [[ -z $ROOT && $(readlink /usr/local/bin/xcaas 2>/dev/null) == "$REPO/bin/xcaas" ]]; then printf '/usr/local/bin'; else printf '%s/bin' "$REPO"; fi; }
