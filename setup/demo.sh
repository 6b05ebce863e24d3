# ./xcaas demo: the pool is brought up, then the command line plays the demo on it.
# shellcheck shell=bash

cmd_demo() {
  local up=() demo=()
  while (($#)); do
    case $1 in
      --yes | -y) up+=(--yes); shift ;;
      --rps | --seconds)
        (($# > 1)) || die usage "$1 needs a value." "$(usage_line demo)"
        demo+=("$1" "$2"); shift 2 ;;
      --rps=* | --seconds=* | --json | --clean) demo+=("$1"); shift ;;
      *) die usage "demo does not know $1." "$(usage_line demo)" ;;
    esac
  done
  VERB=up
  cmd_up ${up[@]+"${up[@]}"}
  say ''
  # The lock of the setup is not the demo's, and what setup needed while it ran is not needed any more.
  exec 9>&-
  [[ -z $SCRATCH ]] || rm -rf --one-file-system "$SCRATCH"
  # The demo's containers run on this host's engine: it is root's business, also when root came through sudo.
  export XCAAS_PROFILE=$STATE/profile.json
  exec "$STATE/tools/node" "$STATE/tools/cli.mjs" demo ${demo[@]+"${demo[@]}"}
}
