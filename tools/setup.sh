#!/usr/bin/env bash
# Prepare this machine: Debian packages, then the virtual environment .venv. Quick when nothing is missing.
#   tools/setup.sh [python] [run] [test] [vm] [page]
#     python   .venv with the dependencies pinned in requirements.lock (always done, and the only part that needs no root)
#     run      what a lab and its demo execute: nft, ip, kubectl, …
#     test     what tests and benchmarks need besides: iperf3, BIRD, the reference CNI plugins, …
#     vm       what `make test-vm` needs besides: qemu
#     page     what `make test-page` needs besides: Chromium, and Playwright in .venv
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

# program or file → Debian package. A file that exists needs no package, whoever put it there.
run_needs="nft:nftables ip:iproute2 bridge:iproute2 unshare:util-linux nsenter:util-linux sysctl:procps ping:iputils-ping
  conntrack:conntrack kubectl:kubernetes-client libnftables.so.1:libnftables1"
test_needs="iperf3:iperf3 bird:bird2 /usr/lib/cni/ptp:containernetworking-plugins git:git"
vm_needs="qemu-system-x86_64:qemu-system-x86 /usr/lib/qemu/virtiofsd|/usr/libexec/virtiofsd:virtiofsd
  busybox:busybox-static zstd:zstd xz:xz-utils kmod:kmod"
page_needs="chromium:chromium"

present() { # PROGRAM | FILE[|FILE…] | LIBRARY
  case $1 in
    /*) local file; for file in ${1//|/ }; do [ -e "$file" ] && return 0; done; return 1 ;;
    *.so.*) /sbin/ldconfig -p | grep -F "$1" >/dev/null ;;
    *) PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null ;;
  esac
}

apt_install() { # PACKAGE…: those that this release of Debian or Ubuntu has; the rest is reported
  command -v apt-get >/dev/null || die "this is no Debian or Ubuntu. Install the equivalents of: $* — then run this again."
  [ "$(id -u)" = 0 ] || die "not root. Run as root, or first: sudo apt-get install $*"
  say "installing with apt: $*"
  export DEBIAN_FRONTEND=noninteractive
  # A fresh machine has no package lists; asking for one that exists costs nothing.
  apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>&1 && return
  apt-get update -qq
  local package known=()
  for package in "$@"; do
    # `virtiofsd` became a package of its own after Debian 12; before, qemu brings it.
    if apt-cache show "$package" >/dev/null 2>&1; then known+=("$package"); fi
  done
  [ ${#known[@]} = 0 ] || apt-get install -y -qq --no-install-recommends "${known[@]}" >/dev/null
}

ensure_programs() { # "PROBE:PACKAGE …"
  local need missing=() packages
  for need in $1; do present "${need%:*}" || missing+=("${need##*:}"); done
  [ ${#missing[@]} = 0 ] && return
  packages=$(printf '%s\n' "${missing[@]}" | sort -u)
  # shellcheck disable=SC2086  # one word a package
  apt_install $packages
  for need in $1; do
    present "${need%:*}" || die "no package here brings ${need%:*} (tried ${need##*:}). Put it on PATH by other means, then run this again."
  done
}

find_python() { # the first of the usual names that is 3.11 or newer
  local name
  for name in python3 python3.11 python3.12 python3.13 python3.14; do
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo "$name"; return; fi
  done
  return 1
}

ensure_venv() {
  local python packages
  if ! python=$(find_python); then
    apt_install python3 python3-venv
    python=$(find_python) || die "Python 3.11 or newer is needed, and python3 is $(python3 --version). Install python3.11 and python3.11-venv."
  fi
  # The venv holds absolute paths, so it is also made anew where the folder was moved.
  local wanted; wanted=$(cat requirements.lock pyproject.toml lab/pyproject.toml <(echo "$PWD") | sha256sum)
  [ "$(cat .venv/.steppe-setup 2>/dev/null)" = "$wanted" ] && .venv/bin/python -c '' 2>/dev/null && return

  if ! .venv/bin/python -m pip --version >/dev/null 2>&1 || ! head -1 .venv/bin/pip | grep -qF "$PWD/"; then
    "$python" -c 'import ensurepip, venv' 2>/dev/null || apt_install python3-venv
    say "making .venv with $("$python" --version)"
    [ ! -L .venv ] || rm .venv # --clear would empty the folder that it points to, which is another's
    "$python" -m venv --clear .venv
  fi
  packages=$(grep -c '==' requirements.lock)
  say "installing $packages pinned Python packages (a minute on a slow line)"
  .venv/bin/python -m pip --disable-pip-version-check install --require-hashes -r requirements.lock |
    awk -v all="$packages" '/^Collecting/ { printf "\rsetup: %d/%d %-40s", ++n, all, $2 > "/dev/stderr" }
                            END { if (n) printf "\n" > "/dev/stderr" }'
  .venv/bin/python -m pip --disable-pip-version-check install -q --no-deps -e . -e lab
  echo "$wanted" > .venv/.steppe-setup
}

ensure_test() {
  local before; before=$(present bird && echo there || true)
  ensure_programs "$test_needs"
  # Debian starts a BIRD of its own; labs and tests run theirs, in namespaces.
  if [ -z "$before" ] && [ -d /run/systemd/system ]; then systemctl disable --quiet --now bird; fi
}

ensure_page() {
  ensure_programs "$page_needs"
  .venv/bin/python -c 'import playwright' 2>/dev/null && return
  .venv/bin/python -m pip --disable-pip-version-check install -q --require-hashes -r requirements-page.lock
}

for group in python "$@"; do
  case $group in
    python) ensure_venv ;;
    run) ensure_programs "$run_needs" ;;
    test) ensure_test ;;
    vm) ensure_programs "$vm_needs" ;;
    page) ensure_page ;;
    *) sed -n '2,8s/^# //p' "$0" >&2; exit 2 ;;
  esac
done
