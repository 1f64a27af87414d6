#!/bin/sh
# enter.sh CGROUPS PID COMMAND...: run the command in a node. CGROUPS: a file with one folder a line;
# PID: the node's init, as this machine numbers it.
set -e
while IFS= read -r folder; do echo $$ >"$folder/cgroup.procs"; done <"$1"
[ "$2" != 0 ] || { shift 2; exec "$@"; }
pid=$2
shift 2
exec nsenter --target "$pid" --mount --uts --ipc --net --pid --cgroup -- "$@"
