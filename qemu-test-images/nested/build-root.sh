#!/usr/bin/env bash
# Makes the root disk and the initramfs of a nested test bed (../nested.sh): this machine's Java, QEMU and libvirt under Debian 12's own
# kernel, which needs no rights of root. Prints the folder with root.img, initrd and vmlinuz; nothing is made twice.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${UNDERSTUDY_CACHE:-$here/../../.cache/guests}
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)

# These, what they depend on, and what every Debian has.
roots="openjdk-17-jre-headless qemu-system-x86 libvirt-daemon-system libvirt-daemon-driver-qemu libvirt-clients dmidecode
  iproute2 util-linux bash procps busybox-static kmod libc-bin"
# Drivers of the root disk, each after those it needs.
drivers="virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk"

fail() {
  echo "nested/build-root.sh: $*" >&2
  exit 1
}

packages() {
  dpkg-query -W -f '${Package}\t${db:Status-Abbrev}\t${Essential}\t${Pre-Depends}, ${Depends}\t${Provides}\n' |
    awk -F '\t' -v roots="$roots" '
      $2 !~ /^ii/ { next }
      { needs[$1] = $4; n = split($5, names, /, */)
        for (i = 1; i <= n; i++) { sub(/ .*/, "", names[i]); if (names[i] != "") provider[names[i]] = $1 } }
      $3 == "yes" { todo[++count] = $1 }
      END {
        n = split(roots, names, /[ \n]+/)
        for (i = 1; i <= n; i++) if (names[i] in needs) todo[++count] = names[i]; else { print "missing " names[i]; exit }
        for (k = 1; k <= count; k++) {
          name = todo[k]
          if (!(name in needs) && name in provider) name = provider[name]
          if (!(name in needs) || done[name]++) continue
          print name
          n = split(needs[name], names, /, *|\| */)
          for (i = 1; i <= n; i++) { sub(/^ */, "", names[i]); sub(/[ :(].*/, "", names[i]); if (names[i] != "") todo[++count] = names[i] }
        }
      }'
}

# Files, links and folders of the packages; documentation and translations are left out.
files() {
  # shellcheck disable=SC2046 # words
  dpkg-query -L $(packages) | sort -u |
    grep -vE '^/usr/share/(doc|man|locale|info|bash-completion|iso-codes|fonts|icons|lintian|perl)|^package ' |
    while read -r file; do if [ -L "$file" ] || [ -f "$file" ] || [ -d "$file" ]; then printf '%s\n' "${file#/}"; fi; done
  (cd / && find etc/alternatives usr/bin/java -maxdepth 1 -type l)
}

root_image() { # FOLDER
  local stage=$1/stage folder
  mkdir -p "$stage/usr"
  for folder in bin sbin lib lib64; do
    mkdir -p "$stage/usr/$folder"
    ln -s "usr/$folder" "$stage/$folder"
  done
  mkdir -p "$stage"/{proc,sys,dev,run,tmp,root,mnt,var/{log,lib,cache,tmp},work} "$stage"/etc/understudy
  ln -s /run "$stage/var/run"
  files | tar -C / --no-recursion -T - -cf - | tar -C "$stage" --keep-directory-symlink -xf -
  cp /etc/passwd /etc/group "$stage/etc/"
  printf '127.0.0.1 localhost\n' >"$stage/etc/hosts"
  printf 'hosts: files\n' >"$stage/etc/nsswitch.conf"
  cp "$here/init" "$stage/init"
  chmod 755 "$stage/init"
  mkdir -p "$stage/usr/lib/modules"
  cp -a "$cache/kernel/root/lib/modules/$release" "$stage/usr/lib/modules/"
  depmod -b "$stage" "$release"
  ldconfig -r "$stage"
  # sparse, with room for what is written in the guest
  truncate -s 3G "$1/root.img"
  mke2fs -q -t ext4 -O ^has_journal -m 0 -d "$stage" "$1/root.img"
  rm -rf "$stage"
}

initramfs() { # FOLDER: just enough to mount the disk
  local stage=$1/initramfs name
  mkdir -p "$stage"/{bin,proc,sys,dev,root,lib/modules/"$release"}
  cp "$(command -v busybox)" "$stage/bin/busybox"
  for name in $drivers; do
    cp "$(find "$cache/kernel/root/lib/modules" -name "$name.ko" | head -n 1)" "$stage/lib/modules/$release/"
  done
  cat >"$stage/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
cd /lib/modules/*
for name in $(/bin/busybox cat /drivers); do /bin/busybox insmod $name.ko; done
tries=0
until [ -b /dev/vda ] || [ $tries = 100 ]; do /bin/busybox sleep 0.1; tries=$((tries + 1)); done
/bin/busybox mount -t ext4 -o noatime /dev/vda /root && exec /bin/busybox switch_root /root /init
echo "nested: the root disk cannot be mounted"
/bin/busybox poweroff -f
INIT
  chmod +x "$stage/init"
  echo "$drivers" >"$stage/drivers"
  (cd "$stage" && find . | sort | cpio --quiet -o -H newc -R 0:0) >"$1/initrd"
  rm -rf "$stage"
}

for tool in mke2fs:e2fsprogs cpio:cpio depmod:kmod busybox:busybox-static; do
  command -v "${tool%%:*}" >/dev/null || fail "package ${tool#*:} is missing, install it"
done
"$here/../build-guests.sh" >/dev/null
release=$(basename "$cache"/kernel/root/lib/modules/*)
names=$(packages)
case $names in *"missing "*) fail "package ${names##*missing } is missing, install it" ;; esac
# shellcheck disable=SC2086 # words
key=$({ dpkg-query -W -f '${Package} ${Version}\n' $names; cat "$0" "$here/init" "$cache/kernel/version"; } | sha256sum | cut -c 1-16)
folder=$cache/nested-$key
exec 9>"$cache/nested.lock"
flock 9
if [ ! -e "$folder/complete" ]; then
  rm -rf "$cache"/nested-*/
  mkdir -p "$folder"
  root_image "$folder" 9>&-
  initramfs "$folder" 9>&-
  cp "$cache"/kernel/root/boot/vmlinuz-* "$folder/vmlinuz"
  touch "$folder/complete"
fi
echo "$folder"
