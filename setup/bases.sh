# The base images debian:trixie-slim and node:24-trixie-slim: present, pulled, or built here as stand-ins of the same tags.
# shellcheck shell=bash

DEBIAN_BASE=debian:trixie-slim
NODE_BASE=node:24-trixie-slim
NODE_MAJOR=24
# Where registries are out of reach, packets are often dropped instead of refused: do not wait for ever.
PULL_SECONDS=${XCAAS_PULL_TIMEOUT:-20}

image_present() { docker image inspect "$1" >/dev/null 2>&1; }

# registry_reachable: one short look, remembered. XCAAS_REGISTRY=none says there is none.
REGISTRY_STATE=
registry_reachable() {
  if [[ -z $REGISTRY_STATE ]]; then
    if [[ ${XCAAS_REGISTRY:-} == none ]]; then REGISTRY_STATE=no
    elif timeout 8 docker manifest inspect "${1:-$DEBIAN_BASE}" >/dev/null 2>&1; then REGISTRY_STATE=yes
    else REGISTRY_STATE=no; fi
  fi
  [[ $REGISTRY_STATE == yes ]]
}

ensure_bases() {
  ensure_base "$DEBIAN_BASE" standin_debian
  ensure_base "$NODE_BASE" standin_node
}

# ensure_base TAG BUILDER: a mirror given as --registry is asked first, under the same name below its prefix.
ensure_base() {
  local tag=$1 builder=$2
  if image_present "$tag"; then note "$tag: present"; return 0; fi
  local from
  for from in ${REGISTRY:+"$REGISTRY/$tag"} "$tag"; do
    if [[ $from == "$tag" ]] && ! registry_reachable; then continue; fi
    note "$tag: pulling $from"
    if timeout "$((PULL_SECONDS * 15))" docker pull -q "$from" >>"$LOG" 2>&1; then
      [[ $from == "$tag" ]] || docker tag "$from" "$tag"
      return 0
    fi
    note "$tag: could not be pulled"
  done
  note "$tag: no image registry; building a stand-in"
  "$builder"
}

# Debian's own bootstrap, from the machine's own mirror, then slimmed as images are: no manuals, no locales, no package lists.
standin_debian() {
  local source uri key script=() at
  source=$(debian_source) || die unavailable "$DEBIAN_BASE can neither be pulled nor built: this machine has no Debian package source." \
    "Load the image by hand:  docker load -i debian-trixie-slim.tar" "or name a registry that has it:  ./xcaas up --registry HOST/PREFIX"
  read -r uri _ key <<<"$source"
  key=$(debian_keyring "$key") || { need gpgv gpgv; apt_update; logged 'installing the archive keyring' apt_install debian-archive-keyring; key=$(debian_keyring ''); }
  need debootstrap debootstrap
  # An older debootstrap does not know the name; every release since 2013 is bootstrapped as sid is.
  [[ -e /usr/share/debootstrap/scripts/trixie ]] || script=(/usr/share/debootstrap/scripts/sid)
  scratch
  at=$SCRATCH/debian
  logged 'debootstrap trixie' debootstrap --variant=minbase --keyring="$key" trixie "$at" "$uri" ${script[@]+"${script[@]}"} ||
    die unavailable "Debian trixie could not be bootstrapped from $uri." "See $LOG. If the mirror cannot be reached, load the image by hand: docker load"
  slim_tree "$at" "$uri"
  import_tree "$at" "$DEBIAN_BASE" 'CMD ["bash"]'
  rm -rf "$at"
}

slim_tree() {
  local at=$1 uri=$2
  rm -rf "$at"/var/lib/apt/lists/* "$at"/var/cache/apt/* "$at"/var/cache/debconf/*-old "$at"/var/cache/ldconfig/aux-cache "$at"/var/log/*.log "$at"/var/log/apt
  rm -rf "$at"/usr/share/{man,info,groff,lintian,linda}/*
  find "$at/usr/share/doc" -mindepth 1 -not -name copyright -not -type d -delete
  find "$at/usr/share/doc" -mindepth 1 -type d -empty -delete
  find "$at/usr/share/locale" -mindepth 1 -maxdepth 1 -not -name 'en*' -not -name locale.alias -exec rm -rf {} +
  : >"$at/etc/machine-id"
  rm -f "$at/etc/hostname" "$at/etc/resolv.conf"
  printf 'deb %s trixie main\n' "$uri" >"$at/etc/apt/sources.list"
  local security
  security=$(debian_security_source | cut -d' ' -f1)
  [[ -z $security ]] || printf 'deb %s trixie-security main\n' "$security" >>"$at/etc/apt/sources.list"
  # A mirror that is a frozen copy has indexes that are out of date; whoever lives with that has told apt so.
  if apt-config dump Acquire::Check-Valid-Until 2>/dev/null | grep -qiE '"(false|no|0)"'; then
    printf 'Acquire::Check-Valid-Until "false";\n' >"$at/etc/apt/apt.conf.d/91xcaas-mirror"
  fi
  printf 'path-exclude /usr/share/doc/*\npath-include /usr/share/doc/*/copyright\npath-exclude /usr/share/man/*\npath-exclude /usr/share/info/*\npath-exclude /usr/share/lintian/*\npath-exclude /usr/share/locale/*\npath-include /usr/share/locale/locale.alias\n' \
    >"$at/etc/dpkg/dpkg.cfg.d/xcaas-slim"
  # Packages are not kept, lists are kept compressed, and nothing asks.
  cat >"$at/etc/apt/apt.conf.d/90xcaas-image" <<'CONF'
Binary::apt::APT::Keep-Downloaded-Packages "false";
APT::Keep-Downloaded-Packages "false";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Acquire::GzipIndexes "true";
Acquire::Languages "none";
APT::AutoRemove::SuggestsImportant "false";
CONF
  printf 'force-unsafe-io\n' >"$at/etc/dpkg/dpkg.cfg.d/xcaas-speed"
  # Services must not start while packages are installed into an image.
  printf '#!/bin/sh\nexit 101\n' >"$at/usr/sbin/policy-rc.d"
  chmod 755 "$at/usr/sbin/policy-rc.d"
  host_authorities "$at"
}

# What this machine trusts, its stand-ins trust: a company's proxy or mirror may have an authority of its own.
host_authorities() {
  local at=$1
  if [[ -s /etc/ssl/certs/ca-certificates.crt ]]; then
    mkdir -p "$at/etc/ssl/certs"
    cp /etc/ssl/certs/ca-certificates.crt "$at/etc/ssl/certs/ca-certificates.crt"
  fi
}

import_tree() {
  local at=$1 tag=$2 command=$3
  shift 3
  local change=(--change "$command" --change 'LABEL xcaas.standin=true') line
  change+=(--change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin')
  for line in "$@"; do change+=(--change "$line"); done
  note "importing $tag"
  import_pipe() { tar -C "$at" --numeric-owner --one-file-system -c . | docker import "${change[@]}" - "$tag"; }
  logged "importing $tag" import_pipe || die internal "The stand-in for $tag could not be imported." "See $LOG."
}

# Node from the npm registry: node-linux-ARCH holds the official binary. On top of the Debian base, with npm for builds.
standin_node() {
  local arch at
  case $(uname -m) in x86_64) arch=x64 ;; aarch64) arch=arm64 ;; *) die unavailable "There is no stand-in for $NODE_BASE on $(uname -m)." 'Load the image by hand: docker load' ;; esac
  scratch
  at=$SCRATCH/node
  mkdir -p "$at/tree/usr/local/bin" "$at/tree/usr/local/lib/node_modules"
  npm_fetch "node-linux-$arch" "$NODE_MAJOR" "$at/node.tgz"
  npm_fetch npm 11 "$at/npm.tgz"
  tar -C "$at" --no-same-owner -xzf "$at/node.tgz" && mv "$at/package/bin/node" "$at/tree/usr/local/bin/node" && rm -rf "$at/package"
  chmod 755 "$at/tree/usr/local/bin/node"
  tar -C "$at" --no-same-owner -xzf "$at/npm.tgz" && mv "$at/package" "$at/tree/usr/local/lib/node_modules/npm"
  rm -rf "$at/tree/usr/local/lib/node_modules/npm"/{docs,man}
  chmod 755 "$at/tree/usr/local/lib/node_modules/npm/bin/"*.js
  ln -s ../lib/node_modules/npm/bin/npm-cli.js "$at/tree/usr/local/bin/npm"
  ln -s ../lib/node_modules/npm/bin/npx-cli.js "$at/tree/usr/local/bin/npx"
  printf 'FROM %s\nCOPY tree/ /\nLABEL xcaas.standin=true\nCMD ["node"]\n' "$DEBIAN_BASE" >"$at/Dockerfile"
  printf '*\n!tree\n' >"$at/.dockerignore"
  logged "building $NODE_BASE" docker build --network host -t "$NODE_BASE" "$at" || die internal "The stand-in for $NODE_BASE could not be built." "See $LOG."
  docker run --rm --network none "$NODE_BASE" node --version | grep -q "^v$NODE_MAJOR\." || die internal "The stand-in for $NODE_BASE does not run." "See $LOG."
  rm -rf "$at"
}
