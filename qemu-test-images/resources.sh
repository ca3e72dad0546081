#!/usr/bin/env bash
# A daemon and its guard under systemd and the kernel's memory limits, in a guest with Debian's kernel: resources.sh
# The unit is docs/understudyd.service; in the guest systemd runs resources/judge.sh. Ends with the exit code of that.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/.." && pwd)
work=$(mktemp -d /tmp/us-resources.XXXX)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
fail() {
  echo "resources: $*" >&2
  exit 1
}

product=${UNDERSTUDY_BIN:-$root/libvirt-plugin/target/understudy/bin}/..
tests=${UNDERSTUDY_TESTS:-$root/libvirt-plugin/target/test-classes}
service=org/understudy/daemon/GuardedService.class
[ -e "$tests/$service" ] || fail "nothing is built, run ./dev build"
image=$("$here/nested/build-root.sh")
mkdir -p "$work/disk/repository/lib" "$work/disk/repository/tests/$(dirname $service)"
cp "$product"/lib/{dirty-log-reader,libvirt-plugin,jna}-*.jar "$work/disk/repository/lib/"
cp "$tests/$service" "$work/disk/repository/tests/$service"
cp "$root/docs/understudyd.service" "$here"/resources/* "$work/disk/repository/"
echo 'sh ./begin.sh' >"$work/disk/command"
truncate -s 64M "$work/disk.img"
mke2fs -q -t ext4 -O ^has_journal -m 0 -d "$work/disk" "$work/disk.img"
timeout -k 5 "${RESOURCES_TIMEOUT_S:-400}" qemu-system-x86_64 -machine q35,accel=tcg -cpu max,la57=off,pku=off -smp 2 -m 1024 \
  -nodefaults -display none -no-reboot -kernel "$image/vmlinuz" -initrd "$image/initrd" \
  -append "console=ttyS0 quiet panic=-1 mitigations=off" -serial stdio \
  -drive "file=$image/root.img,if=virtio,format=raw,snapshot=on" -drive "file=$work/disk.img,if=virtio,format=raw,snapshot=on" \
  -object rng-random,id=rng,filename=/dev/urandom -device virtio-rng-pci,rng=rng </dev/null |
  sed -u 's|\r||g' | tee "$work/serial" || fail "the guest did not end in time"
grep -q '^resources: 0 failed' "$work/serial"
