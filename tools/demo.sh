#!/bin/sh
# The main job in one go: a lab of three nodes, an app, every pair probed, the routes explained.
# Called by `make demo`, which has set the machine up. Leaves the lab running; may be run again.
set -eu
cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"
LAB=lab

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

# A lab of an earlier run, whole or broken, is replaced.
steppe lab down --name "$LAB"

say "A dual-stack cluster network of three nodes"
steppe lab up --name "$LAB" --nodes 3 --family dual
KUBECONFIG=/run/steppe/labs/$LAB/api/admin.kubeconfig
export KUBECONFIG

say "kubectl apply -f examples/app.yaml"
kubectl apply -f examples/app.yaml
kubectl wait --for=condition=Available --timeout=60s deployment/web deployment/db
kubectl get pods -o wide
kubectl get pods -o custom-columns='POD:.metadata.name,NODE:.spec.nodeName,ADDRESSES:.status.podIPs[*].ip'

say "steppe lab probe: every pair, both families"
steppe lab probe --name "$LAB"

pod=$(kubectl get pods -l app=db -o jsonpath='{.items[0].metadata.name}')
say "A Service by its name, from pod $pod; and by node port, from outside the cluster"
fetch() { # SOURCE URL: what the answering pod tells of itself and of its client
  steppe lab exec --name "$LAB" "$1" -- /usr/bin/python3 -c '
import json, sys, urllib.request
seen = json.load(urllib.request.urlopen(sys.argv[1], timeout=5))
print("  {}  answered by {}, which saw {}".format(sys.argv[1], seen["pod"], seen["peer"]))
' "$2"
}
fetch "$pod" http://web/
fetch "$pod" http://web.default.svc.cluster.local/
fetch outside http://192.0.2.12:30080/
fetch outside "http://[2001:db8:0:1::13]:30080/"

say "steppe show routes --node node-a: each with the object that asks for it"
steppe show routes --lab "$LAB" --node node-a

pod=$(kubectl get pods -l app=web -o jsonpath='{.items[0].metadata.name}')
say "steppe show elements: what makes the Service web answer on node-a"
steppe show elements --lab "$LAB" --node node-a --cause Service/default/web

say "steppe explain: one path, by the tables, with the object behind each step"
client=$(kubectl get pods -l app=db -o jsonpath='{.items[0].metadata.name}')
steppe explain --lab "$LAB" "default/$client" svc/default/web

say "All probes answered. The lab stays up; go on with"
cat <<END
  export PATH=$PWD/.venv/bin:\$PATH KUBECONFIG=$KUBECONFIG
  kubectl get pods -o wide
  kubectl scale deployment web --replicas=6
  steppe lab exec $pod -- ip route
  steppe lab exec node/node-a -- ip route
  steppe show routes --cause Node/node-b
  steppe lab probe
  steppe lab down
END
