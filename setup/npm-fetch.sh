# One package of the npm registry as a verified archive, with the registry and the credentials that this machine is set up for.
# shellcheck shell=bash

# npm_fetch NAME MAJOR FILE: the newest release of that major version.
npm_fetch() {
  local name=$1 major=$2 file=$3
  if have npm; then
    # In a shell of its own: whoever calls stays in the folder it was in.
    npm_pack() (cd "$SCRATCH" && mv "$(npm pack --silent --ignore-scripts "$name@$major" | tail -n 1)" "$file")
    logged "fetching $name@$major with npm" npm_pack && return 0
    note 'npm on this machine could not; asking its registry over HTTP'
  fi
  local base document version tarball integrity got
  base=$(npm_registry) || die unavailable "$name cannot be fetched: no npm registry is known on this machine." \
    'Name one:  export NPM_CONFIG_REGISTRY=https://...   or put registry=... into ~/.npmrc'
  need curl curl
  [[ -s /etc/ssl/certs/ca-certificates.crt ]] || logged 'installing ca-certificates' apt_install ca-certificates || true
  scratch
  document=$SCRATCH/${name//\//-}.json
  npm_get "$base" "$base/${name/\//%2f}" "$document" -H 'accept: application/vnd.npm.install-v1+json' ||
    die unavailable "The npm registry does not answer for $name." "Registry: $base (from NPM_CONFIG_REGISTRY, .npmrc, or npm's default)"
  # Some registries put blanks between the tokens, npm's own does not. There is no JSON parser on a bare machine.
  tr -d ' \n\t' <"$document" >"$document.flat"
  version=$(grep -oE "\"$major\.[0-9]+\.[0-9]+\":\{" "$document.flat" | tr -d '":{' | sort -V | tail -n 1 || true)
  [[ -n $version ]] || die not_found "The npm registry has no $name $major." "Registry: $base"
  # From the version's own entry on, the first tarball and integrity are its own.
  got=$(grep -oE "\"${version//./\\.}\":\{.*" "$document.flat" | cut -c1-20000)
  tarball=$(grep -oE '"tarball":"[^"]+"' <<<"$got" | head -n 1 | cut -d'"' -f4 || true)
  integrity=$(grep -oE '"integrity":"sha512-[^"]+"' <<<"$got" | head -n 1 | cut -d'"' -f4 || true)
  [[ -n $tarball && -n $integrity ]] || die unavailable "The npm registry's answer for $name is not understood." "Registry: $base"
  npm_get "$base" "$tarball" "$file" || die unavailable "$name $version could not be fetched." "From: $tarball"
  [[ "sha512-$(sha512sum "$file" | cut -d' ' -f1 | hex_to_base64)" == "$integrity" ]] ||
    die unavailable "$name $version does not match the registry's checksum." "From: $tarball"
  rm -f "$document" "$document.flat"
  note "$name $version"
}

hex_to_base64() { local hex; read -r hex; printf '%b' "$(sed 's/../\\x&/g' <<<"$hex")" | base64 -w 0; }

# npm_get BASE URL FILE [curl options]: a token of .npmrc goes only to the registry it belongs to, through a file, never the command line.
npm_get() {
  local base=$1 url=$2 file=$3 token='' rc host
  shift 3
  host=${base#*://}
  rc=$SCRATCH/curl-header
  if [[ ${url#*://} == "${host%%/*}/"* ]]; then
    token=$(npm_setting "//$host/:_authToken" || npm_setting "//$host:_authToken" || true)
  fi
  (umask 077 && if [[ -n $token ]]; then printf 'authorization: Bearer %s\n' "$token"; fi >"$rc")
  logged "GET $url" curl -fsSL --retry 3 --connect-timeout 10 --max-time 600 -H "@$rc" "$@" -o "$file" "$url"
}

# npm_setting KEY: from the user's, then the machine's .npmrc; ${NAME} stands for a variable of the environment there.
npm_setting() {
  local file value
  for file in "${NPM_CONFIG_USERCONFIG:-$HOME/.npmrc}" /etc/npmrc /usr/etc/npmrc /usr/local/etc/npmrc; do
    [[ -r $file ]] || continue
    value=$(awk -v key="$1" '{ i = index($0, "="); k = substr($0, 1, i - 1); gsub(/^[ \t]+|[ \t]+$/, "", k); if (k == key) { v = substr($0, i + 1); gsub(/^[ \t]+|[ \t]+$/, "", v); print v } }' "$file" | tail -n 1)
    if [[ -n $value ]]; then
      if [[ $value =~ ^(.*)\$\{([A-Za-z_][A-Za-z0-9_]*)\}(.*)$ ]]; then value=${BASH_REMATCH[1]}${!BASH_REMATCH[2]:-}${BASH_REMATCH[3]}; fi
      printf '%s' "$value"
      return 0
    fi
  done
  return 1
}

# The registry of this machine without a trailing slash; where nothing names one, the default that Debian's own npm package carries.
npm_registry() {
  local registry=${NPM_CONFIG_REGISTRY:-${npm_config_registry:-}}
  [[ -n $registry ]] || registry=$(npm_setting registry || true)
  if [[ -z $registry ]]; then
    scratch
    if [[ ! -s $SCRATCH/npm-default ]]; then
      apt_update
      npm_deb() (cd "$SCRATCH" && apt-get -o APT::Sandbox::User=root download npm && dpkg-deb --fsys-tarfile npm_*.deb >npm-deb.tar)
      logged "reading npm's default registry from Debian's package" npm_deb || return 1
      tar -xOf "$SCRATCH/npm-deb.tar" --wildcards '*definitions.js' 2>/dev/null | grep -A3 -E "define\('registry'|registry: *new Definition|'registry'" |
        grep -oE "https://[a-z0-9./-]+" | head -n 1 >"$SCRATCH/npm-default"
      rm -f "$SCRATCH"/npm_*.deb "$SCRATCH/npm-deb.tar"
    fi
    registry=$(<"$SCRATCH/npm-default")
  fi
  [[ -n $registry ]] || return 1
  printf '%s' "${registry%/}"
}

# npm_settings: an .npmrc with what of this machine's settings matters to an install elsewhere: registries, credentials, proxies.
npm_settings() {
  local file line registry
  for file in /usr/etc/npmrc /usr/local/etc/npmrc /etc/npmrc "${NPM_CONFIG_USERCONFIG:-$HOME/.npmrc}"; do
    [[ -r $file ]] || continue
    while IFS= read -r line || [[ -n $line ]]; do
      [[ $line =~ ^[[:space:]]*(registry|@[^:=]+:registry|//[^=]+|proxy|https-proxy|noproxy|strict-ssl|always-auth|_auth|_authToken)[[:space:]]*= ]] || continue
      # Variables are this machine's.
      while [[ $line =~ ^(.*)\$\{([A-Za-z_][A-Za-z0-9_]*)\}(.*)$ ]]; do line=${BASH_REMATCH[1]}${!BASH_REMATCH[2]:-}${BASH_REMATCH[3]}; done
      printf '%s\n' "$line"
    done <"$file"
  done
  registry=${NPM_CONFIG_REGISTRY:-${npm_config_registry:-}}
  if [[ -z $registry ]] && have npm; then registry=$(cd / && npm config get registry 2>/dev/null || true); fi
  if [[ $registry == http* ]]; then printf 'registry=%s\n' "$registry"; fi
}
