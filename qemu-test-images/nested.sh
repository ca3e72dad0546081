#!/usr/bin/env bash
# Runs this build under Debian 12's own kernel, which has soft-dirty bits and no PAGEMAP_SCAN, in a guest that has this machine's Java, QEMU
# and libvirt (QEMU inside QEMU, TCG inside TCG: slow).
#   nested.sh logs               the dirty logs that this kernel has, against a process that writes known pages
#   nested.sh failover           two hosts, a guest, a failover and one back: round-trip.sh
#   nested.sh run 'COMMAND'      anything else, in the copy of the repository
# Prints what the command prints, then "N passed, M failed …", and ends with its exit code.
# NESTED_MEMORY_MIB (3072) is the guest's memory, NESTED_TIMEOUT_S (1800) the longest time.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/.." && pwd)
work=$(mktemp -d /tmp/us-nested.XXXX)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

fail() {
  echo "nested.sh: $*" >&2
  exit 1
}

# What runs without Maven and compiler: the product, the test bed and its guests, the tests of the dirty logs.
repository() { # FOLDER
  local guests disk reader=dirty-log-reader program entry
  [ -x "$root/libvirt-plugin/target/understudy/bin/understudyd" ] && [ -e "$root/$reader/target/test.classpath" ] ||
    fail "nothing is built, run ./dev build"
  guests=$("$here/build-guests.sh")
  disk=$("$here/build-guests.sh" disk 64)
  mkdir -p "$1"/{.cache/guests,libvirt-plugin/target,$reader/src/test,$reader/target/c,tests}
  cp -r "$guests" "$disk" "$1/.cache/guests/"
  cp -r "$root/libvirt-plugin/target/understudy" "$1/libvirt-plugin/target/"
  mkdir "$1/qemu-test-images"
  cp -r "$here"/*.sh "$here/guests" "$here/src" "$1/qemu-test-images/"
  cp -r "$root/$reader/src/test/c" "$1/$reader/src/test/"
  cp -r "$root/$reader/target/classes" "$root/$reader/target/test-classes" "$1/$reader/target/"
  tr ':' '\n' <"$root/$reader/target/test.classpath" | while read -r entry || [ -n "$entry" ]; do
    [ -d "$entry" ] || cp "$entry" "$1/tests/" # a folder is a module that was not packaged, which these tests do not need
  done
  # As the tests themselves would compile them.
  for program in "$root/$reader"/src/test/c/*.c; do
    gcc -O1 -mno-red-zone -pthread -o "$1/$reader/target/c/$(basename "$program" .c)" "$program"
  done
}

logs='cd dirty-log-reader && java -Xmx512m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Dunderstudy.methods=soft-dirty,compare \
  -cp "target/test-classes:target/classes:../tests/*" org.understudy.dirtylog.ChosenTests org.understudy.dirtylog.DirtyLogTest'

case ${1:-} in
logs) command=$logs ;;
failover) command='NESTED=1 EXPECTED_LOG=soft-dirty qemu-test-images/round-trip.sh' ;;
run) command=${2:?nested.sh run COMMAND} ;;
*) fail "usage: nested.sh logs|failover|run COMMAND" ;;
esac

image=$("$here/nested/build-root.sh")
repository "$work/disk/repository"
printf '%s\n' "$command" >"$work/disk/command"
truncate -s 2G "$work/disk.img"
mke2fs -q -t ext4 -O ^has_journal -m 0 -d "$work/disk" "$work/disk.img"
rm -rf "$work/disk"

# The clock must not run slower than the machine's, so nothing is counted in instructions; both disks lose what is written.
timeout -k 5 "${NESTED_TIMEOUT_S:-1800}" qemu-system-x86_64 -machine q35,accel=tcg -cpu max,la57=off,pku=off -smp 2 -m "${NESTED_MEMORY_MIB:-3072}" \
  -nodefaults -display none -no-reboot -kernel "$image/vmlinuz" -initrd "$image/initrd" \
  -append "console=ttyS0 quiet panic=-1 mitigations=off" -serial stdio \
  -drive "file=$image/root.img,if=virtio,format=raw,snapshot=on" -drive "file=$work/disk.img,if=virtio,format=raw,snapshot=on" \
  -object rng-random,id=rng,filename=/dev/urandom -device virtio-rng-pci,rng=rng </dev/null |
  sed -u 's|\r||g' | tee "$work/serial" || fail "the guest did not end within ${NESTED_TIMEOUT_S:-1800} s"
rc=$(sed -n 's/^nested: exit code //p' "$work/serial")
exit "${rc:-1}"
