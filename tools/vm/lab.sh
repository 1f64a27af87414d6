#!/usr/bin/env bash
# Inside the guest: a 2-node lab comes up, every pair of pods reaches each other, and nothing stays behind.
set -euo pipefail
export PATH=$PWD/.venv/bin:$PATH
steppe doctor | grep -v '^ok ' || true
trap 'steppe lab down --name vm' EXIT
steppe lab up --name vm --nodes 2 --fabric vxlan -f examples/app.yaml
kubectl --kubeconfig /run/steppe/labs/vm/api/admin.kubeconfig wait --timeout 600s \
  --for condition=Available deployment --all
steppe lab status --name vm
steppe lab probe --name vm
trap - EXIT
steppe lab down --name vm
left=$(ls /run/netns)
[ -z "$left" ] || { echo "left behind: $left" >&2; exit 1; }
