# Ground for the parts of ./xcaas: output, errors, logged commands, the version, the paths of this host.
# shellcheck shell=bash

VERSION=$(sed -n 's/^ *"version": *"\([^"]*\)".*/\1/p' "$REPO/package.json" | head -n 1)
ROOT=${XCAAS_ROOT:-}
STATE=$ROOT/var/lib/xcaas
RUN=$ROOT/run/xcaas
LOG_DIR=$ROOT/var/log/xcaas
LOG=$LOG_DIR/setup.log
COMPOSE_PROJECT=xcaas
STARTED=$(date +%s)
# A directory for what this run needs only while it runs; removed at exit whatever happens.
SCRATCH=

if [[ -t 2 && -z ${NO_COLOR:-} ]]; then
  BOLD=$'\e[1m' DIM=$'\e[2m' RED=$'\e[31m' YELLOW=$'\e[33m' GREEN=$'\e[32m' PLAIN=$'\e[0m'
else
  BOLD='' DIM='' RED='' YELLOW='' GREEN='' PLAIN=''
fi

# All progress goes to stderr: stdout is data.
say() { printf '%s\n' "$*" >&2; }
note() { printf '%s       %s%s\n' "$DIM" "$*" "$PLAIN" >&2; }
warn() { printf '%swarning%s  %s\n' "$YELLOW" "$PLAIN" "$*" >&2; }

# die CODE MESSAGE [HINT]...: what is wrong and where, then what to type next. Codes are those of controllers/core/errors.ts.
die() {
  local code=$1 message=$2
  shift 2
  DIED=1
  printf '%serror%s    %s %s(%s)%s\n' "$RED" "$PLAIN" "$message" "$DIM" "$code" "$PLAIN" >&2
  local hint
  for hint in "$@"; do printf '         %s\n' "$hint" >&2; done
  case $code in usage) exit 2 ;; not_found) exit 3 ;; conflict) exit 4 ;; timeout) exit 5 ;; *) exit 1 ;; esac
}

# step NAME: opens a step and closes the one before; each one's seconds are kept for the table at the end.
STEP_NAME='' STEP_AT=0 STEP_TABLE=()
step() {
  step_close
  STEP_NAME=$1 STEP_AT=$(now_ms)
  printf '%s[%4ds]%s %s\n' "$BOLD" $(($(date +%s) - STARTED)) "$PLAIN" "$1" >&2
}
step_close() {
  [[ -n $STEP_NAME ]] || return 0
  STEP_TABLE+=("$(printf '%7.1f s  %s' "$(elapsed "$STEP_AT")" "$STEP_NAME")")
  STEP_NAME=''
}
step_table() {
  step_close
  say ''
  local line
  for line in "${STEP_TABLE[@]}"; do say "$line"; done
  say "$(printf '%7d s  in all' $(($(date +%s) - STARTED)))"
}
now_ms() { date +%s%3N; }
elapsed() { local ms=$(($(now_ms) - $1)); printf '%d.%d' $((ms / 1000)) $((ms % 1000 / 100)); }

# logged WHAT COMMAND...: runs with output to the log; a failure shows the last lines and where the rest is. Returns the command's status.
logged() {
  local what=$1 status=0 from
  shift
  mkdir -p "$LOG_DIR"
  printf '\n=== %s  %s: %s\n' "$(date -u +%FT%TZ)" "$what" "$1" >>"$LOG"
  from=$(wc -l <"$LOG")
  "$@" >>"$LOG" 2>&1 </dev/null || status=$?
  if ((status != 0)); then
    printf '%s       %s failed (exit %d); the end of %s:%s\n' "$YELLOW" "$what" "$status" "$LOG" "$PLAIN" >&2
    tail -n "+$((from + 1))" "$LOG" | last_words | sed 's/^/         | /' >&2
  fi
  return "$status"
}

# The lines of a failure that tell why: BuildKit repeats the whole Dockerfile after them.
last_words() {
  local all build
  all=$(cat)
  build=$(grep -E '^#[0-9]+ [0-9.]+ .' <<<"$all" || true)
  tail -n 15 <<<"${build:-$all}"
}

scratch() {
  [[ -z $SCRATCH ]] || return 0
  mkdir -p "$STATE/setup"
  (umask 077 && mkdir -p "$STATE/setup/scratch.$$")
  SCRATCH=$STATE/setup/scratch.$$
}
# What a run that was killed left: its scratch folder, and containers made only to copy something out of.
sweep() {
  local at
  for at in "$STATE"/setup/scratch.*; do
    if [[ -d $at && ! -d /proc/${at##*.} ]]; then rm -rf --one-file-system "$at"; fi
  done
  if engine_answers; then
    docker ps -aq --filter 'label=xcaas.kind=setup' --filter status=created --filter status=exited | xargs -r docker rm -f >/dev/null 2>&1 || true
  fi
}

have() { command -v "$1" >/dev/null 2>&1; }

confirm() {
  [[ ${YES:-} == 1 ]] && return 0
  [[ -t 0 ]] || die usage "There is no terminal to ask on: $1" 'Repeat the command with --yes.'
  local answer
  read -r -p "$1 [y/N] " answer
  [[ $answer == [yY] || $answer == [yY][eE][sS] ]]
}

# wait_until SECONDS WHAT COMMAND...: polls five times a second. Status 1 when the time is over.
wait_until() {
  local deadline=$(($(date +%s) + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    (($(date +%s) < deadline)) || { note "waited in vain for: $what"; return 1; }
    sleep 0.2
  done
}

# need COMMAND PACKAGE: installs a Debian package when its command is missing.
need() {
  have "$1" && return 0
  have apt-get || die unavailable "The command $1 is missing and this machine has no apt-get." "Install $1, then repeat the command."
  note "installing $2"
  apt_update
  logged "installing $2" apt_install "$2" || die unavailable "Package $2 could not be installed." "Try: apt-get install $2"
}
# A machine that was just switched on may be at its own updates: they are waited for.
apt_install() {
  mend_packages
  DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$@"
}
# A run that was killed in the middle of a package: apt refuses everything until dpkg has gone through its journal.
mend_packages() {
  [[ -n $(ls -A /var/lib/dpkg/updates 2>/dev/null) ]] || return 0
  echo 'dpkg was interrupted: dpkg --configure -a'
  DEBIAN_FRONTEND=noninteractive dpkg --force-confdef --force-confold --configure -a || true
}
APT_UPDATED=
apt_update() {
  [[ -z $APT_UPDATED ]] || return 0
  logged 'apt-get update' apt-get update || warn 'apt-get update had errors; going on with the lists at hand'
  APT_UPDATED=1
}

# The machine's own package sources with a component main, as "URI SUITE KEYRING" lines, from deb822 and one-line files.
apt_sources() {
  local file
  for file in /etc/apt/sources.list.d/*.sources; do
    [[ -f $file ]] || continue
    awk -v RS= '{
      uri = key = ""; suites = 0; type = 0; main = 0; off = 0
      n = split($0, line, "\n")
      for (i = 1; i <= n; i++) {
        if (line[i] ~ /^#/) continue
        m = split(line[i], word, /[ \t]+/)
        if (word[1] == "Types:") for (j = 2; j <= m; j++) if (word[j] == "deb") type = 1
        if (word[1] == "URIs:") uri = word[2]
        if (word[1] == "Suites:") for (j = 2; j <= m; j++) suite[++suites] = word[j]
        if (word[1] == "Components:") for (j = 2; j <= m; j++) if (word[j] == "main") main = 1
        if (word[1] == "Signed-By:") key = word[2]
        if (tolower(word[1]) == "enabled:" && tolower(word[2]) == "no") off = 1
      }
      if (type && main && !off) for (i = 1; i <= suites; i++) print uri, suite[i], key
    }' "$file"
  done
  { cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null || true; } | awk '
    $1 == "deb" {
      key = ""; line = $0
      if (match(line, /\[[^]]*\]/)) {
        options = substr(line, RSTART + 1, RLENGTH - 2); line = substr(line, 1, RSTART - 1) substr(line, RSTART + RLENGTH)
        if (match(options, /signed-by=[^ ]+/)) key = substr(options, RSTART + 10, RLENGTH - 10)
      }
      split(line, word, /[ \t]+/)
      if (line ~ / main/) print word[2], word[3], key
    }'
}
# Debian itself: what other suites of it are found by.
debian_source() { apt_sources | awk -v next_release="$NEXT_RELEASE" '$1 ~ /\/debian\/?$/ && $2 !~ /security|updates|backports/ && $2 != next_release { print; found = 1; exit } END { exit !found }'; }
# Debian's security updates; nothing where the machine has none.
debian_security_source() { apt_sources | awk '$1 ~ /debian/ && $2 ~ /-security$/ { print; exit }'; }
NEXT_RELEASE=forky
debian_keyring() {
  local key=$1
  [[ -n $key && -f $key ]] || key=/usr/share/keyrings/debian-archive-keyring.gpg
  [[ -f $key ]] && printf '%s' "$key"
}

# A value for a JSON string; names and labels are checked before, so this only has to be right for plain text.
json_string() {
  local s=$1
  s=${s//\\/\\\\} s=${s//\"/\\\"} s=${s//$'\n'/\\n} s=${s//$'\t'/\\t}
  printf '"%s"' "$s"
}
