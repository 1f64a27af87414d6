#!/usr/bin/env bash
# Run a command as root under a stock Debian 6.12 kernel:   tools/vm/run.sh COMMAND [ARGUMENT…]
# The guest's / is this machine's / (read and write; /run, /dev/shm and $TMPDIR are its own), in the same
# folder, with the same environment. stdout, stderr and the exit code come back.
#   exit code   the command's; 124 it took longer than VM_TIMEOUT; 125 the guest did not start or died
#   VM_TIMEOUT  seconds (600)     VM_MEMORY  (2G)     VM_CPUS  (1)     VM_DIR  the kernel's files (~/.cache/steppe-vm)
# Software emulation: Python takes 12 to 15 times as long as outside, starting a program 37 times.
set -euo pipefail
[ $# -gt 0 ] || { sed -n '2,8s/^# //p' "$0" >&2; exit 2; }

here=$(cd "$(dirname "$0")" && pwd)
dir=${VM_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/steppe-vm}
timeout=${VM_TIMEOUT:-600} memory=${VM_MEMORY:-2G}
"$here/../setup.sh" vm || exit 125
"$here/setup.sh" "$dir" || exit 125

run=$(mktemp -d /tmp/steppe-vm.XXXXXX)
started=()
finish() {
  for pid in ${started[@]+"${started[@]}"}; do kill "$pid" 2>/dev/null || true; done
  rm -rf "$run"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

export -p | grep -vE '^declare -x (OLDPWD|PWD|SHLVL|TMPDIR)(=|$)' > "$run/environment"
{
  printf '. %q\nexport PATH=%q:$PATH TMPDIR=/run/tmp\n' "$run/environment" "$dir/bin"
  printf 'cd %q || exit 125\nexec' "$PWD"
  printf ' %q' "$@"
  echo
} > "$run/command"
touch "$run/stdout" "$run/stderr" "$run/console"

# Shares / with the guest. Debian 12 ships it with qemu, later releases by itself.
for virtiofsd in /usr/libexec/virtiofsd /usr/lib/qemu/virtiofsd; do [ -x "$virtiofsd" ] && break; done
"$virtiofsd" --socket-path="$run/fs" -o source=/ -o sandbox=chroot -o cache=always > "$run/fs.log" 2>&1 &
fs=$!
started+=("$fs")
for _ in $(seq 250); do [ -S "$run/fs" ] && break; kill -0 "$fs" 2>/dev/null || break; sleep 0.02; done
[ -S "$run/fs" ] || { cat "$run/fs.log" >&2; echo "vm: virtiofsd did not start" >&2; exit 125; }

kernel_arguments="console=ttyS0 quiet loglevel=4 rw rootfstype=virtiofs root=rootfs panic=-1 mitigations=off
  audit=0 apparmor=0 random.trust_cpu=on init=$here/init.sh vm_dir=$dir vm_run=$run"
timeout -k 5 "$timeout" qemu-system-x86_64 -M q35 -accel tcg,thread=multi -cpu max -smp "${VM_CPUS:-1}" -m "$memory" \
  -nodefaults -no-user-config -display none -no-reboot \
  -object "memory-backend-memfd,id=memory,size=$memory,share=on" -numa node,memdev=memory \
  -chardev "socket,id=fs,path=$run/fs" -device vhost-user-fs-pci,queue-size=1024,chardev=fs,tag=rootfs \
  -device virtio-serial-pci -device virtio-rng-pci \
  -chardev "file,id=stdout,path=$run/stdout" -device virtserialport,chardev=stdout,name=stdout \
  -chardev "file,id=stderr,path=$run/stderr" -device virtserialport,chardev=stderr,name=stderr \
  -chardev "file,id=console,path=$run/console" -serial chardev:console \
  -kernel "$dir/vmlinux" -append "${kernel_arguments//$'\n'/ }" < /dev/null > "$run/qemu.log" 2>&1 &
qemu=$!
started+=("$qemu")
# --pid: tail ends by itself once the guest is gone and all is printed.
tail -s 0.1 --pid="$qemu" -n +1 -f "$run/stdout" & out=$!
tail -s 0.1 --pid="$qemu" -n +1 -f "$run/stderr" >&2 & err=$!
started+=("$out" "$err")

ended=0
wait "$qemu" || ended=$?
wait "$out" "$err" || true
started=("$fs")
[ -s "$run/code" ] && exit "$(cat "$run/code")"
case $ended in
  124 | 137) echo "vm: no end after $timeout s" >&2; exit 124 ;;
esac
cat "$run/qemu.log" >&2
tail -40 "$run/console" >&2
echo "vm: the guest ended without an exit code" >&2
exit 125
