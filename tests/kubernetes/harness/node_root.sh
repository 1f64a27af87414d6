#!/bin/bash
# The first process of a node's namespaces: builds the node's root folder and becomes its init.
# NODE its name; FOLDER what stays when the node is made again; STATE the harness's folder;
# BINDS more folders of this machine to show in the node; INIT the program of init.
set -euo pipefail
mount --make-rprivate /
top=$FOLDER/root
mkdir -p "$top"
mount -t tmpfs -o size=2g tmpfs "$top"
root=$top/merged
mkdir "$top/upper" "$top/work" "$root"
# This machine's files; what the node writes stays in memory.
mount -t overlay overlay -o "lowerdir=/,upperdir=$top/upper,workdir=$top/work" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t tmpfs tmpfs "$root/sys/fs/cgroup"
while IFS=: read -r _ controllers _; do
  case $controllers in
    '') name=unified type=cgroup2 options=rw ;;
    name=*) name=${controllers#name=} type=cgroup options=none,$controllers ;;
    *) name=$controllers type=cgroup options=$controllers ;;
  esac
  mkdir -p "$root/sys/fs/cgroup/$name"
  mount -t "$type" -o "$options" cgroup "$root/sys/fs/cgroup/$name"
done </proc/self/cgroup
mount -t bpf bpf "$root/sys/fs/bpf" 2>/dev/null || true
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mkdir -p "$root/run/lock" "$root/run/netns"

show() { mkdir -p "$2"; mount --bind "$1" "$2"; }
show "$FOLDER/containerd" "$root/var/lib/containerd"
show "$FOLDER/kubelet" "$root/var/lib/kubelet"
show "$FOLDER/pod-logs" "$root/var/log"
show "$FOLDER/cni-conf" "$root/etc/cni/net.d"
show "$FOLDER/cni-bin" "$root/opt/cni/bin"
show "$STATE" "$root$STATE"
for folder in $BINDS; do show "$folder" "$root$folder"; done
# Kubelet sets these of the whole machine: in the node it finds them set, and sets files.
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
  kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
  [ -e "$root/proc/sys/${setting%=*}" ] || continue
  file=$top/${setting//[\/=]/-}
  echo "${setting#*=}" >"$file"
  mount --bind "$file" "$root/proc/sys/${setting%=*}"
done
hostname "$NODE"
echo "$NODE" >"$root/etc/hostname"
printf '127.0.0.1 localhost\n::1 localhost\n' >"$root/etc/hosts"
rm -f "$root/etc/resolv.conf"
echo '# no resolver' >"$root/etc/resolv.conf"
echo "$NODE" | md5sum | cut -c1-32 >"$root/etc/machine-id"
cp "$INIT" "$root/run/init"
cd "$root"
mkdir -p .old
pivot_root . .old
cd /
umount -l /.old
mount --make-rshared /
exec /run/init
