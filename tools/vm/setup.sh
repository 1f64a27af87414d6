#!/usr/bin/env bash
# Fetch Debian's 6.12 cloud kernel and lay it out for tools/vm/run.sh.   tools/vm/setup.sh DIR
# Nothing is installed on this machine: the package is unpacked, its hooks never run, /boot stays as it is.
#   DIR/vmlinux   the kernel      DIR/root/lib/modules   its modules      DIR/bin   kmod programs that look there
set -euo pipefail
dir=${1:?usage: tools/vm/setup.sh DIR}
[ -f "$dir/complete" ] && exit 0

die() { echo "vm: $*" >&2; exit 1; }
[ "$(dpkg --print-architecture 2>/dev/null)" = amd64 ] || die "the kernel is fetched from Debian for amd64 only"

# Debian 12 has 6.12 under a name of its own (backported); from Debian 13 it is the release's kernel.
kernel_package() {
  local name
  for name in linux-image-6.12-cloud-amd64 linux-image-cloud-amd64; do
    apt-cache depends "$name" 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-6\.12[^ ]*\)/\1/p'
  done | head -1
}

rm -rf "$dir"
mkdir -p "$dir/download" "$dir/root/lib" "$dir/bin"
package=$(kernel_package)
[ -n "$package" ] || { apt-get update -qq; package=$(kernel_package); }
[ -n "$package" ] || die "apt knows no linux-image-6.12-cloud-amd64; Debian 12 and 13 have it"

echo "vm: fetching $package (30 MB)" >&2
cd "$dir/download"
apt-get download -qq "$package" 2>/dev/null || { apt-get update -qq; apt-get download -qq "$package"; }
dpkg -x ./*.deb unpacked
modules=$(echo unpacked/lib/modules/* unpacked/usr/lib/modules/* | tr ' ' '\n' | grep -v '\*' | head -1)
release=$(basename "$modules")
cp -a "$(dirname "$modules")" "$dir/root/lib/modules"
cp "unpacked/boot/config-$release" "$dir/config"

# QEMU boots an uncompressed kernel directly (PVH), which spares the guest from unpacking it.
offset=$(LC_ALL=C grep -abom1 $'\x28\xb5\x2f\xfd' "unpacked/boot/vmlinuz-$release" | head -1 | cut -d: -f1)
[ -n "$offset" ] || die "no zstd-compressed kernel inside vmlinuz-$release"
# What follows the compressed kernel is not zstd, and zstd says so after writing all of it.
tail -c "+$((offset + 1))" "unpacked/boot/vmlinuz-$release" | zstd -dcq > "$dir/vmlinux" 2>/dev/null || true
[ "$(head -c 4 "$dir/vmlinux" | tail -c 3)" = ELF ] || die "could not unpack vmlinuz-$release"

# Modules are unpacked too: the guest is slow.
find "$dir/root/lib/modules" -name '*.ko.xz' -print0 | xargs -0 -r -P "$(nproc)" -n 50 xz -dq
/sbin/depmod -b "$dir/root" "$release"

# The guest's / is this machine's, where /lib/modules has no such release.
cat > "$dir/bin/modprobe" <<MODPROBE
#!/bin/sh
exec /sbin/modprobe -d $dir/root "\$@"
MODPROBE
chmod +x "$dir/bin/modprobe"
rm -rf "$dir/download"
echo "$release" > "$dir/complete"
echo "vm: kernel $release is ready" >&2
