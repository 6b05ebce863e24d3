# ./xcaas test: everything from nothing, and one line at the end that counts it. The layers `fault` (hours) and `model` (half an hour, no Docker) are run only when named.
# shellcheck shell=bash

TEST_LAYERS=(check unit ground appliance pool)
TESTS_PASSED=0 TESTS_FAILED=0 TESTS_SKIPPED=0
# What failed or was skipped, said again at the end: the output of half an hour is long, and often only its end is kept.
TESTS_REMARKS=()

cmd_test() {
  local layers=() layer engine_started='' model=() with_engine='' services=()
  while (($#)); do
    case $1 in
      check | unit | ground | appliance | pool | fault | model) layers+=("$1") ;;
      # Which service's faults; both without a word.
      db | cache) services+=("test/fault/$1-") ;;
      --quick | --mutations) model+=("$1") ;;
      --seed | --faults)
        [[ ${2:-} =~ ^[0-9]{1,9}$ ]] || die usage "$1 takes a number." './xcaas test fault --seed 1 --faults 20'
        if [[ $1 == --seed ]]; then export XCAAS_FAULT_SEED=$2; else export XCAAS_FAULTS=$2; fi
        shift ;;
      --prove) export XCAAS_FAULT_PROVE=1 ;;
      *) die usage "test does not know $1." "$(usage_line test)" ;;
    esac
    shift
  done
  ((${#layers[@]})) || layers=("${TEST_LAYERS[@]}")
  if [[ -n ${XCAAS_FAULT_SEED:-}${XCAAS_FAULTS:-}${XCAAS_FAULT_PROVE:-} && " ${layers[*]} " != *' fault '* ]]; then
    die usage '--seed, --faults and --prove belong to the fault suite.' './xcaas test fault --seed 1 --faults 20'
  fi
  if ((${#services[@]})) && [[ " ${layers[*]} " != *' fault '* ]]; then
    die usage 'db and cache belong to the fault suite.' './xcaas test fault cache'
  fi
  if ((${#model[@]})) && [[ " ${layers[*]} " != *' model '* ]]; then
    die usage "${model[*]} belongs to the model of the database's protocol." './xcaas test model --quick'
  fi
  YES=1
  cd "$REPO"
  for layer in "${layers[@]}"; do [[ $layer == model ]] || with_engine=1; done
  if [[ -n $with_engine ]]; then
    preflight_for_tests
    lock_setup
    step 'Docker Engine'
    engine_answers || engine_started=1
    ensure_engine
    [[ -z $engine_started ]] || TEST_STARTED_ENGINE=1
    step 'Base images'
    ensure_bases
  fi
  step 'Node and packages'
  test_node
  test_packages
  if [[ -n $with_engine ]]; then
    step 'Images of this project'
    ensure_images
    # Tests run ./xcaas up themselves.
    exec 9>&-
  fi
  for layer in "${layers[@]}"; do
    step "Tests: $layer"
    case $layer in
      check)
        one_test 'types (tsc)' npx --no-install tsc --noEmit
        one_test 'lint (biome)' npx --no-install biome check --error-on-warnings . ;;
      model) one_test "the protocol of databases${model[*]:+ (${model[*]})}" node controllers/xdb/protocol/model/run.mjs ${model[@]+"${model[@]}"} ;;
      fault) vitest_project fault ${services[@]+"${services[@]}"} ;;
      *) vitest_project "$layer" ;;
    esac
  done
  [[ -z $with_engine ]] || step 'Cleaning up'
  if [[ -n ${TEST_STARTED_ENGINE:-} && -f $STATE/setup/engine-started ]]; then rm -f "$STATE/setup/engine-started"; stop_own_engine; fi
  step_table
  ((${#TESTS_REMARKS[@]} == 0)) || printf '%s\n' "${TESTS_REMARKS[@]}"
  printf '%d passed, %d failed, %d skipped\n' "$TESTS_PASSED" "$TESTS_FAILED" "$TESTS_SKIPPED"
  ((TESTS_FAILED == 0)) || exit 1
}

# The ports of the ground do not matter here: tests have network namespaces of their own.
preflight_for_tests() {
  check_root
  check_system
  check_disk
  check_kernel
  check_engine
  ((PREFLIGHT_FAILED == 0)) || die unavailable 'The tests cannot run here; see above.' 'Mend it, then repeat the command.'
  need ip iproute2
  need iptables iptables
  # The pool of the tests is steered with tc and nsenter.
  need tc iproute2
  need nsenter util-linux
}

# Node 20.19 or later of this machine, else the one of the base image.
test_node() {
  local at=$STATE/setup/node container
  if have node && have npm && node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)'; then
    note "Node $(node --version)"
    return 0
  fi
  if [[ ! -x $at/bin/node || ! -d $at/lib/node_modules/npm ]]; then
    note "taking Node from $NODE_BASE"
    rm -rf "$at"
    mkdir -p "$at/bin" "$at/lib/node_modules"
    container=$(docker create --label xcaas.kind=setup "$NODE_BASE")
    docker cp -q "$container:/usr/local/bin/node" "$at/bin/node"
    docker cp -q "$container:/usr/local/lib/node_modules/npm" "$at/lib/node_modules/npm"
    docker rm "$container" >/dev/null
    ln -s ../lib/node_modules/npm/bin/npm-cli.js "$at/bin/npm"
    ln -s ../lib/node_modules/npm/bin/npx-cli.js "$at/bin/npx"
  fi
  export PATH=$at/bin:$PATH
  if [[ -z ${NODE_EXTRA_CA_CERTS:-} && -s /etc/ssl/certs/ca-certificates.crt ]]; then export NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt; fi
  note "Node $(node --version), from $NODE_BASE"
}

# Again only when the lock file changed since.
test_packages() {
  local stamp=node_modules/.xcaas-lock sum
  sum=$(sha256sum package-lock.json | cut -d' ' -f1)
  if [[ $(cat "$stamp" 2>/dev/null) == "$sum" ]]; then note 'packages: up to date'; return 0; fi
  # Installed by hand from this very lock file.
  if [[ ! -e $stamp && node_modules/.package-lock.json -nt package-lock.json ]]; then
    note 'packages: installed already'
  else
    note 'npm ci'
    # See images/control/Dockerfile for why there is a second way.
    logged 'npm ci' npm ci --ignore-scripts --no-audit --no-fund ||
      logged 'npm install' npm install --no-save --ignore-scripts --no-audit --no-fund ||
      die unavailable 'The packages of this project could not be installed.' "See $LOG; the registry is the one npm is set up for."
  fi
  printf '%s' "$sum" >"$stamp"
}

one_test() {
  local what=$1
  shift
  if "$@" </dev/null; then
    TESTS_PASSED=$((TESTS_PASSED + 1))
    note "$what: passed"
  else
    TESTS_FAILED=$((TESTS_FAILED + 1))
    TESTS_REMARKS+=("failed   $what")
    say "${RED}failed${PLAIN}  $what"
  fi
}

vitest_project() {
  local project=$1 report status=0 counts passed failed skipped remark
  shift
  scratch
  report=$SCRATCH/vitest-$project.json
  npx --no-install vitest run --project "$project" "$@" --passWithNoTests --reporter=default --reporter=json --outputFile.json="$report" </dev/null || status=$?
  counts=$(node setup/count-tests.mjs "$report" "$REPO" 2>/dev/null) || counts='0 0 0'
  read -r passed failed skipped <<<"$counts"
  while IFS= read -r remark; do TESTS_REMARKS+=("$remark"); done < <(tail -n +2 <<<"$counts")
  # Errors outside any test: a rejection nobody handled, or vitest itself.
  if ((status != 0 && failed == 0)); then
    failed=1
    TESTS_REMARKS+=("failed   $project: vitest ended with $status and no test failed; its output above says why")
  fi
  TESTS_PASSED=$((TESTS_PASSED + passed)) TESTS_FAILED=$((TESTS_FAILED + failed)) TESTS_SKIPPED=$((TESTS_SKIPPED + skipped))
  note "$project: $passed passed, $failed failed, $skipped skipped"
}
