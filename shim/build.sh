#!/usr/bin/env bash
# build.sh FILE [TARGET]: the CNI plugin as one static program, the same bytes each time.
# TARGET: a target of rustc, such as aarch64-unknown-linux-gnu (LINKER names its linker).
set -euo pipefail
out=$1 target=${2:-}
cd "$(dirname "$0")"
command -v rustc >/dev/null || { echo 'build.sh: rustc is missing: apt-get install rustc' >&2; exit 1; }
mkdir -p "$(dirname "$out")"
rustc --edition 2021 -C opt-level=s -C lto=fat -C codegen-units=1 -C strip=symbols \
  -C target-feature=+crt-static --remap-path-prefix "$PWD=shim" ${target:+--target "$target"} \
  ${LINKER:+-C linker="$LINKER"} -o "$out" src/main.rs
