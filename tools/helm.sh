#!/usr/bin/env bash
# helm.sh ARGUMENTS: runs helm, built from its Go module into a cache outside the tree the first time.
# HELM names one that is there already; STEPPE_CACHE is the cache (default: ~/.cache/steppe).
set -euo pipefail
version=v3.22.0
work=${STEPPE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/steppe}/helm-$version
helm=${HELM:-$work/helm}

build() {
  command -v go >/dev/null || { echo 'helm.sh: go is missing; install Go, or name a helm: HELM=FILE' >&2; exit 1; }
  mkdir -p "$work"
  echo "helm.sh: building helm $version into $work, once: about five minutes of CPU" >&2
  # -v names each package as it is built.
  if ! (cd "$work" && GOFLAGS=-mod=mod GOBIN=$work go install -v "helm.sh/helm/v3/cmd/helm@$version" 2>&1) |
      tee "$work/build.log" | awk 'NR % 100 == 0 { printf "helm.sh: %d packages built, last %s\n", NR, $0 > "/dev/stderr" }'; then
    tail -n 5 "$work/build.log" >&2
    echo "helm.sh: helm was not built; all of it is in $work/build.log" >&2
    exit 1
  fi
}

[ -x "$helm" ] || [ -n "${HELM:-}" ] || build
exec "$helm" "$@"
