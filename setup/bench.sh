# ./xcaas bench: figures of this machine, each against its bar.
# shellcheck shell=bash

cmd_bench() {
  [[ ${1:-} == lb || ${1:-} == db ]] || die usage 'bench measures a load balancer (lb) or a database (db).' "$(usage_line bench)"
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
  local status=0
  node --enable-source-maps test/bench/run.mjs "$@" </dev/null || status=$?
  if [[ -n ${TEST_STARTED_ENGINE:-} && -f $STATE/setup/engine-started ]]; then rm -f "$STATE/setup/engine-started"; stop_own_engine >&2; fi
  # The table has said which bar was missed: no error that nobody expected.
  exit "$status"
}
