#!/usr/bin/env bash
# `make test-vm`: the kernel tests and a 2-node lab, under the kernel of tools/vm/run.sh.
#   tools/vm/test.sh                 both
#   tools/vm/test.sh PYTEST-ARGUMENT…  only these tests
set -euo pipefail
cd "$(dirname "$0")/../.."
# Tests multiply what they allow the kernel and other programs to take by this (tests/waiting.py).
export STEPPE_TIME_SCALE=${STEPPE_TIME_SCALE:-20} PYTHONDONTWRITEBYTECODE=1
# This kernel has every kind of tunnel: a fabric that cannot be made is a failure here (tests/fabrics).
export STEPPE_FABRICS=all
export VM_TIMEOUT=${VM_TIMEOUT:-3600} VM_CPUS=${VM_CPUS:-2}

pytest=(.venv/bin/python -m pytest -p no:cacheprovider --timeout 1800)
if [ $# -gt 0 ]; then
  exec tools/vm/run.sh "${pytest[@]}" "$@"
fi
tools/vm/run.sh "${pytest[@]}" -v -m "kernel and not lab"
tools/vm/run.sh tools/vm/lab.sh
