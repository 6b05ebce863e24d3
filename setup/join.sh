# Joining a pool: what must happen before any image is here, with curl and bash alone.
# shellcheck shell=bash

POOL_ADDRESSES=() POOL_CA='' POOL_AT='' SWARM_TOKEN='' SWARM_MANAGER=''

# read_token TOKEN: base64url of {v, addresses, ca, id, secret}.
read_token() {
  local text padded list
  [[ $1 =~ ^[A-Za-z0-9_-]{40,4000}$ ]] || die usage 'This is not a join token, or not all of it was copied.' 'On a host of the pool: xcaas join-token'
  padded=$(printf '%s' "$1" | tr '_-' '/+')
  while ((${#padded} % 4)); do padded+='='; done
  text=$(printf '%s' "$padded" | base64 -d 2>/dev/null | tr -d '\0' || true)
  POOL_CA=$(grep -oE '"ca": *"[0-9a-f]{64}"' <<<"$text" | cut -d'"' -f4 || true)
  list=$(grep -oE '"addresses": *\[[^]]*\]' <<<"$text" | grep -oE '"[0-9.]+(:[0-9]+)?"' | tr -d '"' || true)
  [[ $text == *'"v":1'* && -n $POOL_CA && -n $list ]] || die usage 'This is not a join token, or not all of it was copied.' 'On a host of the pool: xcaas join-token'
  mapfile -t POOL_ADDRESSES <<<"$list"
}

pool_curl() { curl -sS --noproxy '*' --connect-timeout 5 "$@"; }

# The first address of the token that proves to be of its pool: its CA has the fingerprint that the token names.
# Managers that have just booted, or a wire that has, answer in a moment: asked for half a minute, in turn.
find_pool() {
  need curl curl
  local address round
  for round in 1 2 3 4 5; do
    for address in "${POOL_ADDRESSES[@]}"; do
      [[ $address == *:* ]] || address+=:7402
      if ! logged "GET https://$address/join/ca" pool_curl -fk --max-time 10 -o "$SCRATCH/ca.pem" "https://$address/join/ca"; then continue; fi
      if [[ $(sha256sum "$SCRATCH/ca.pem" | cut -d' ' -f1) == "$POOL_CA" ]]; then
        POOL_AT=$address
        note "the pool answers at $address"
        return 0
      fi
      warn "$address answers, and is not of the pool that this token is for"
      round=5
    done
    ((round < 5)) || break
    sleep 2
  done
  die unavailable 'No manager of the pool answers.' "Tried: ${POOL_ADDRESSES[*]}" 'Port 7402/tcp must be open from here to there. The token is good for an hour.'
}

# pool_get PATH FILE|-: the CA that was proved, and the token in a file instead of on a command line.
pool_get() {
  (umask 077 && printf 'authorization: Bearer %s\n' "$TOKEN" >"$SCRATCH/authorization")
  pool_curl --cacert "$SCRATCH/ca.pem" -H "@$SCRATCH/authorization" -w '%{stderr}%{http_code}\n' -o "$2" "https://$POOL_AT$1" 2>"$SCRATCH/status"
}
pool_status() { tail -n 1 "$SCRATCH/status" | tr -d '\n'; }
pool_refused() {
  local message hint
  message=$(grep -oE '"message": *"[^"]*"' "$1" 2>/dev/null | head -n 1 | cut -d'"' -f4 || true)
  hint=$(grep -oE '"hint": *"[^"]*"' "$1" 2>/dev/null | head -n 1 | cut -d'"' -f4 || true)
  die unavailable "The pool says no: ${message:-status $(pool_status)}" "${hint:-On a host of the pool: xcaas join-token}"
}

# Images come by ID from the host that answers; the engine checks every layer, we check that what came is what was promised.
fetch_images() {
  local line id tag size at before
  pool_get /join/images "$SCRATCH/images.json" && [[ $(pool_status) == 200 ]] || pool_refused "$SCRATCH/images.json"
  tr '{' '\n' <"$SCRATCH/images.json" | grep -F '"id"' >"$SCRATCH/images" || die unavailable 'The pool has no images to give.' 'On a manager of the pool: ./xcaas up'
  while IFS= read -r line; do
    id=$(grep -oE 'sha256:[0-9a-f]{64}' <<<"$line" | head -n 1 || true)
    tag=$(grep -oE '"tags": *\["[^"]+"' <<<"$line" | grep -oE 'xcaas/[a-z]+:[A-Za-z0-9._-]+' | head -n 1 || true)
    size=$(grep -oE '"sizeBytes": *[0-9]+' <<<"$line" | grep -oE '[0-9]+' || echo 0)
    # What the images were built from is of use where they are built only.
    [[ -n $id && -n $tag && $tag != xcaas/build:* ]] || continue
    if [[ $(image_id "$tag") == "$id" ]]; then note "$tag: present"; continue; fi
    note "$tag: fetching $((size / 1048576)) MB"
    at=$(now_ms)
    stream_image() { pool_curl -f --cacert "$SCRATCH/ca.pem" -H "@$SCRATCH/authorization" --speed-limit 1000 --speed-time 30 "https://$POOL_AT/join/images/$1" | docker load -q; }
    # Bash functions run by `logged` read nothing, so this loop's own input is safe.
    logged "fetching $tag" stream_image "$id" || logged "fetching $tag, again" stream_image "$id" ||
      die unavailable "$tag could not be fetched from $POOL_AT." "See $LOG, then repeat the command: images that are here are not fetched again."
    image_present "$id" || die unavailable "What $POOL_AT sent as $tag is not the image it named ($id)." \
      'Do the engines of the pool keep images differently (containerd store)? See: docker info'
    before=$(image_id "$tag")
    docker tag "$id" "$tag"
    if [[ -n $before && $before != "$id" ]]; then docker rmi "$before" >/dev/null 2>&1 || true; fi
    note "$tag: fetched in $(elapsed "$at") s"
  done <"$SCRATCH/images"
  images_missing_here && die unavailable "The pool's version is not this one's ($VERSION)." 'Use the same version of this project on all hosts.'
  return 0
}
images_missing_here() { local name; for name in consul control; do image_present "$(image_tag "$name")" || return 0; done; return 1; }

join_pool() {
  local arguments answer
  mapfile -t arguments < <(host_arguments)
  answer=$(host_program join "$TOKEN" "${arguments[@]}") || exit $?
  : >"$STATE/setup/joined"
  SWARM_TOKEN=$(grep -oE '"token": *"SWMTKN-[^"]+"' <<<"$answer" | cut -d'"' -f4 || true)
  SWARM_MANAGER=$(grep -oE '"manager": *"[^"]+"' <<<"$answer" | head -n 1 | cut -d'"' -f4 || true)
  [[ -n $SWARM_TOKEN && -n $SWARM_MANAGER ]] || die internal "The pool's answer names no Swarm to join." "See: docker logs xcaas-control on $POOL_AT"
  note "the pool knows this host as $(host_field name)"
}
