#!/usr/bin/env bash
# build.sh FOLDER [PART...]: Kubernetes and its companions as programs in FOLDER, from their Go
# modules. PARTS: runtime (what tests of containerd alone need: a minute), companions (etcd, CoreDNS,
# CNI plugins), cluster (all that tests need), e2e (the e2e tests, ginkgo), extras (kube-proxy, helm,
# policy suite). The first time takes ten minutes of processor time; then Go's cache serves.
# KUBERNETES_VERSION (v1.36.3) names the release.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
usage() { sed -n 's/^# \{0,1\}//; 2,7p' "$0" >&2; exit 2; }
[ $# -ge 1 ] || usage
mkdir -p "$1/cni"
out=$(cd "$1" && pwd)
shift
[ $# -gt 0 ] || set -- cluster
version=${KUBERNETES_VERSION:-v1.36.3}
staging=v0.${version#v1.}
# One module for each peer: what they require excludes one another.
modules=$out/.modules
command -v go >/dev/null || { echo 'build.sh: go is missing: https://go.dev/dl' >&2; exit 1; }
language=$(go env GOVERSION | sed 's/^go\([0-9]*\.[0-9]*\).*/\1.0/')
begun=$SECONDS

module() { # NAME PATH VERSION: an empty module that requires PATH
  mkdir -p "$modules/$1"
  cd "$modules/$1"
  printf 'module peers.example/%s\n\ngo %s\n\nrequire %s %s\n' "$1" "$language" "$2" "$3" >go.mod
}

need() { # PACKAGE...: what the module builds
  for package in "$@"; do go mod edit -tool "$package"; done
  go mod tidy 2>tidy.log || { cat tidy.log >&2; return 1; }
}

build() { # FILE PACKAGE [FLAG...]: Go builds it again only if something has changed
  echo "$(printf '%4d' $((SECONDS - begun))) s  $(basename "$1")"
  go build -trimpath -ldflags "-s -w ${stamp:-}" -o "$out/$1" "${@:3}" "$2"
}

own() { # NAME: a program of this folder, in the module of the same name
  cp "$here/$1/main.go" .
  go mod tidy 2>tidy.log || { cat tidy.log >&2; return 1; }
  CGO_ENABLED=0 build "$1" .
}

kubernetes() {
  module kubernetes k8s.io/kubernetes "$version"
  echo "        downloading k8s.io/kubernetes $version"
  go mod download "k8s.io/kubernetes@$version"
  local listed path
  listed=$(go env GOMODCACHE)/cache/download/k8s.io/kubernetes/@v/$version.mod
  for path in $(go mod edit -json "$listed" | grep -A1 '"Old"' | sed -n 's/.*"Path": "\(.*\)".*/\1/p'); do
    go mod edit -replace "$path=$path@$staging"
  done
  need k8s.io/kubernetes/{cmd/kube-{apiserver,controller-manager,scheduler,proxy},cmd/kubelet,cmd/kubectl} \
    k8s.io/kubernetes/test/{e2e,images/{agnhost,regression-issue-74839}}
  local package=k8s.io/component-base/version
  stamp="-X $package.gitVersion=$version -X $package.gitMajor=1"
  stamp="$stamp -X $package.gitMinor=$(echo "$version" | cut -d. -f2)"
}

runtime() { # a client of the runtime's interface, in the place of a kubelet
  module sandbox k8s.io/cri-api "$staging"
  own sandbox
}

cluster() {
  runtime
  kubernetes
  for program in kube-apiserver kube-controller-manager kube-scheduler kubelet kubectl; do
    build $program k8s.io/kubernetes/cmd/$program
  done
  # Without cgo, agnhost would need everything to be compiled a second time.
  build agnhost k8s.io/kubernetes/test/images/agnhost
  CGO_ENABLED=0 build regression-issue-74839 k8s.io/kubernetes/test/images/regression-issue-74839
  # agnhost's porter serves TLS with these.
  local source
  source=$(go list -m -f '{{.Dir}}' k8s.io/kubernetes)/test/images/agnhost/porter
  install -m 644 "$source/localhost.crt" "$source/localhost.key" "$out/"
  companions
}

companions() { # what a cluster needs beside Kubernetes
  stamp=
  module etcd go.etcd.io/etcd/server/v3 v3.7.3
  need go.etcd.io/etcd/server/v3
  build etcd go.etcd.io/etcd/server/v3
  module coredns github.com/coredns/coredns v1.15.0
  own coredns
  module cni github.com/containernetworking/plugins v1.10.0
  local plugins=github.com/containernetworking/plugins/plugins plugin
  need $plugins/{main/loopback,main/ptp,ipam/host-local,meta/portmap}
  for plugin in main/loopback main/ptp ipam/host-local meta/portmap; do
    build "cni/$(basename $plugin)" $plugins/$plugin
  done
}

e2e() {
  ginkgo
  kubernetes
  echo "$(printf '%4d' $((SECONDS - begun))) s  e2e.test"
  go test -c -trimpath -ldflags "-s -w $stamp" -o "$out/e2e.test" k8s.io/kubernetes/test/e2e
}

ginkgo() {
  stamp=
  module ginkgo github.com/onsi/ginkgo/v2 v2.28.1
  need github.com/onsi/ginkgo/v2/ginkgo
  build ginkgo github.com/onsi/ginkgo/v2/ginkgo
}

extras() {
  kubernetes
  build kube-proxy k8s.io/kubernetes/cmd/kube-proxy
  stamp=
  module helm helm.sh/helm/v3 v3.22.0
  need helm.sh/helm/v3/cmd/helm
  build helm helm.sh/helm/v3/cmd/helm
  module policy-suite sigs.k8s.io/network-policy-api v0.3.0
  printf 'package peers\n\nimport _ "sigs.k8s.io/network-policy-api/conformance"\n' >suite_test.go
  need
  echo "$(printf '%4d' $((SECONDS - begun))) s  policy.test"
  go test -c -o "$out/policy.test" sigs.k8s.io/network-policy-api/conformance
}

for part in "$@"; do
  case $part in runtime | companions | cluster | e2e | extras) $part ;; *) usage ;; esac
done
echo "$(printf '%4d' $((SECONDS - begun))) s  built in $out"
