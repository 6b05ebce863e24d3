# ./xcaas bench: figures of this machine, each against its bar.
# shellcheck shell=bash

cmd_bench() {
  [[ ${1:-} == lb || ${1:-} == db || ${1:-} == cache ]] ||
    die usage 'bench measures a load balancer (lb), a database (db) or a cache (cache).' "$(usage_line bench)"
  YES=1
  cd "$REPO"
  # Standard output is the table, or the one JSON value.
  {
    preflight_for_tests
    lock_setup
    engine_answers || TEST_STARTED_ENGINE=1
    ensure_engine
    ensure_bases
    test_node
    test_packages
    ensure_images
  } >&2
  # `./xcaas up` may be among what is measured.
  exec 9>&-
  local status=0 pid
  # In a session of its own: Ctrl-C reaches the program, which removes what it has started, and none of the commands that it does that with.
  setsid node --enable-source-maps test/bench/run.mjs "$@" </dev/null &
  pid=$!
  trap 'kill -INT "$pid" 2>/dev/null || true' INT TERM
  # A trap ends a wait before its program has ended.
  while :; do
    status=0
    wait "$pid" || status=$?
    kill -0 "$pid" 2>/dev/null || break
  done
  if [[ -n ${TEST_STARTED_ENGINE:-} && -f $STATE/setup/engine-started ]]; then rm -f "$STATE/setup/engine-started"; stop_own_engine >&2; fi
  # The table has said which bar was missed: no error that nobody expected.
  exit "$status"
}
