# This project's images. Each carries a hash of what it was made from as a label; an image whose hash still fits is not built again.
# shellcheck shell=bash

INPUTS_LABEL=xcaas.inputs
APPLIANCES=(xlb xdb xcache)
# HashiCorp's image, where a registry answers. 1.16 is the last version under the MPL.
CONSUL_UPSTREAM=${XCAAS_CONSUL_IMAGE:-hashicorp/consul:1.16}

image_tag() { printf 'xcaas/%s:%s' "$1" "$VERSION"; }
# Images that a further host of the pool needs, in the order that makes sense to stream.
pool_images() { local name; echo consul control; for name in "${APPLIANCES[@]}"; do if appliance_built "$name"; then echo "$name"; fi; done; }
# An appliance is part of this version when its image and its sidecar are in the tree.
appliance_built() { [[ -f $REPO/images/$1/Dockerfile && -f $REPO/controllers/programs/$1.ts ]]; }

ensure_images() {
  local name
  scratch
  build_programs
  build_consul
  build_image control "$(file_hash images/control)" "$(program_hash agent control host cli)" "$(base_hash)"
  for name in "${APPLIANCES[@]}"; do
    if appliance_built "$name"; then build_image "$name" "$(file_hash images/common "images/$name")" "$(program_hash "$name")" "$(base_hash)"; fi
  done
}

# images_missing: whether anything would be built; for the plan. Looks at tags only, hashes are compared when it comes to it.
images_missing() {
  local name
  for name in $(pool_images); do image_present "$(image_tag "$name")" || return 0; done
  return 1
}

# Every program, bundled once, in an image of nothing but those files.
build_programs() {
  local hash
  hash=$(combine "$(file_hash package.json package-lock.json build.mjs tsconfig.json controllers images/control/Dockerfile)" "$(image_id "$NODE_BASE")")
  up_to_date build "$hash" && return 0
  build_secrets
  docker_build build "$hash" images/control/Dockerfile --target dist
}

# program_hash NAME...: of the bundled programs as they came out, so that an image changes only when its own program does.
program_hash() {
  local id at container name sums
  id=$(image_id "$(image_tag build)")
  at=$STATE/setup/programs-${id#sha256:}
  if [[ ! -s $at ]]; then
    mkdir -p "$STATE/setup"
    rm -f "$STATE"/setup/programs-*
    container=$(docker create --label xcaas.kind=setup "$id" none)
    docker cp -q "$container:/dist/SHA256SUMS" "$at" >/dev/null 2>&1 || true
    docker rm "$container" >/dev/null
  fi
  sums=''
  for name in "$@"; do sums+=$(awk -v f="$name.mjs" '$2 == f { print $1 }' "$at"); done
  combine "$sums"
}

build_consul() {
  local from=debian-package version=1.8.7 license=MPL-2.0 hash tag
  tag=$(image_tag consul)
  # Which of the two it came from does not change under a pool that runs.
  if image_present "$tag"; then
    from=$(docker image inspect -f '{{index .Config.Labels "xcaas.consul-from"}}' "$tag")
    version=$(image_label "$tag" org.opencontainers.image.version) license=$(image_label "$tag" org.opencontainers.image.licenses)
  fi
  if ! image_present "$tag" || [[ -z $from ]]; then
    from=debian-package version=1.8.7 license=MPL-2.0
    local upstream=${REGISTRY:+$REGISTRY/}$CONSUL_UPSTREAM
    if image_present "$CONSUL_UPSTREAM"; then from=$CONSUL_UPSTREAM
    elif [[ -n ${REGISTRY:-} ]] || registry_reachable; then
      note "consul: pulling $upstream"
      if timeout "$((PULL_SECONDS * 15))" docker pull -q "$upstream" >>"$LOG" 2>&1; then from=$upstream; fi
    fi
    if [[ $from != debian-package ]]; then
      version=$(docker run --rm --network none --entrypoint /bin/consul "$from" version | sed -n '1s/^Consul v//p')
      # From 1.17 on: https://www.hashicorp.com/license-faq
      case $version in 1.1[7-9].* | 1.[2-9]* | [2-9].*) case $version in 1.[2-9].*) ;; *) license=BUSL-1.1 ;; esac ;; esac
    fi
  fi
  hash=$(combine "$(file_hash images/consul)" "$from" "$(image_id "$DEBIAN_BASE")")
  up_to_date consul "$hash" && return 0
  docker_build consul "$hash" images/consul/Dockerfile --build-arg "CONSUL_FROM=$from" --build-arg "CONSUL_VERSION=$version" \
    --build-arg "CONSUL_LICENSE=$license" --label "xcaas.consul-from=$from"
}
consul_version() { image_label "$(image_tag consul)" org.opencontainers.image.version; }

build_image() {
  local name=$1 hash
  shift
  hash=$(combine "$@")
  up_to_date "$name" "$hash" && return 0
  docker_build "$name" "$hash" "images/$name/Dockerfile" --build-arg "BUILD=$(image_tag build)"
}

up_to_date() {
  [[ $(image_label "$(image_tag "$1")" "$INPUTS_LABEL") == "$2" ]] || return 1
  note "$(image_tag "$1"): up to date"
}

# docker_build NAME HASH DOCKERFILE [option]...
docker_build() {
  local name=$1 hash=$2 file=$3 tag before options=() variable at
  shift 3
  tag=$(image_tag "$name")
  before=$(image_id "$tag")
  at=$(now_ms)
  note "$tag: building"
  for variable in HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy; do
    if [[ -n ${!variable:-} ]]; then options+=(--build-arg "$variable"); fi
  done
  options+=(--network host --build-arg "VERSION=$VERSION" --label "$INPUTS_LABEL=$hash" --label "xcaas.image=$name" -t "$tag")
  if builder_is_buildkit; then
    # The engine's own builder sees the engine's own images; another builder chosen with `docker buildx use` would not.
    export DOCKER_BUILDKIT=1 BUILDX_BUILDER=default
    if [[ -n ${SECRETS_READY:-} && $name == build ]]; then
      options+=(--secret "id=npmrc,src=$SCRATCH/npmrc" --secret "id=authorities,src=$SCRATCH/authorities")
    fi
    options+=(--progress plain --provenance=false -f "$REPO/$file")
  else
    # The classic builder knows no mounts in RUN. It does without; the stand-in of Node brings the authorities along.
    export DOCKER_BUILDKIT=0
    sed -E 's/--mount=type=(secret|cache),[^ ]+ ?//g' "$REPO/$file" >"$SCRATCH/Dockerfile.$name"
    options+=(-f "$SCRATCH/Dockerfile.$name")
  fi
  logged "building $tag" docker build "${options[@]}" "$@" "$REPO" ||
    die internal "The image $tag could not be built." "The end of the build stands above, the whole of it in $LOG." 'When it is the network: repeat the command, what is done is kept.'
  note "$tag: built in $(elapsed "$at") s"
  # The one it replaces, unless something still runs from it.
  if [[ -n $before && $before != "$(image_id "$tag")" ]]; then docker rmi "$before" >/dev/null 2>&1 || true; fi
}

# What npm in a build needs of this machine: where the registry is, who it may say it is, and whom it may believe.
build_secrets() {
  scratch
  (umask 077 && npm_settings >"$SCRATCH/npmrc" && : >"$SCRATCH/authorities")
  local bundle
  for bundle in "${NODE_EXTRA_CA_CERTS:-}" "$(npm_setting cafile || true)" /etc/ssl/certs/ca-certificates.crt; do
    if [[ -n $bundle && -s $bundle ]]; then cat "$bundle" >"$SCRATCH/authorities"; break; fi
  done
  SECRETS_READY=1
}

image_id() { docker image inspect -f '{{.Id}}' "$1" 2>/dev/null || true; }
image_label() { docker image inspect -f "{{index .Config.Labels \"$2\"}}" "$1" 2>/dev/null || true; }
base_hash() { combine "$(image_id "$DEBIAN_BASE")" "$(image_id "$NODE_BASE")"; }
combine() { printf '%s\n' "$VERSION" "$@" | sha256sum | cut -c1-32; }
# file_hash PATH...: of the files that go into an image, by name and content; tests do not.
file_hash() {
  (cd "$REPO" && find "$@" -type f -not -name '*.spec.ts' -not -name '*.test.ts' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum) | sha256sum | cut -c1-32
}
