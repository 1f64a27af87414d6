#!/usr/bin/busybox sh
# Process 1 of the guest. The kernel command line gives, as environment: vm_dir (tools/vm/setup.sh's), vm_run (this run's).
# Starting a program is what costs under emulation (37 times): few of them here, and busybox from memory.
/usr/bin/busybox mount -t tmpfs -o mode=0755 run /run
/usr/bin/busybox cp /usr/bin/busybox /run/busybox
box=/run/busybox

$box mount -t proc proc /proc
$box mount -t sysfs sys /sys
$box grep -q '^devtmpfs /dev ' /proc/mounts || $box mount -t devtmpfs dev /dev
$box mkdir -p /dev/pts /dev/shm /dev/net /run/lock /run/netns /run/tmp
$box chmod 1777 /run/tmp
$box mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts /dev/pts
$box mount -t tmpfs -o mode=1777 shm /dev/shm
[ -e /dev/fd ] || $box ln -s /proc/self/fd /dev/fd
[ -e /dev/net/tun ] || $box mknod /dev/net/tun c 10 200
$box mount -t cgroup2 cgroup /sys/fs/cgroup
$box mount -t bpf bpf /sys/fs/bpf
echo "$vm_dir/bin/modprobe" > /proc/sys/kernel/modprobe
echo steppe-vm > /proc/sys/kernel/hostname
$box ip link set lo up

# virtio ports by name: where stdout and stderr leave the guest.
for port in /sys/class/virtio-ports/vport*; do
  read -r name < "$port/name"
  case $name in
    stdout) stdout=/dev/${port##*/} ;;
    stderr) stderr=/dev/${port##*/} ;;
  esac
done
# The command gets pipes: a port can be opened once only.
$box mkfifo /run/.stdout /run/.stderr
$box cat < /run/.stdout > "$stdout" & out=$!
$box cat < /run/.stderr > "$stderr" & err=$!
$box setsid bash "$vm_run/command" > /run/.stdout 2> /run/.stderr < /dev/null
code=$?

# What the command left running may hold the pipes open: the readers get two seconds.
( $box sleep 2; kill $out $err 2>/dev/null ) &
wait $out $err
echo $code > "$vm_run/code"
$box sync
$box poweroff -f
