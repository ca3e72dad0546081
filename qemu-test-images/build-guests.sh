#!/bin/sh
# Builds the test guests from Debian packages into a cache, once; says where they are.
#
#   build-guests.sh            builds what is missing and prints the folder: vmlinuz, proof.initrd, redis.initrd, ledger.initrd;
#                            ioread and rekernel (make disks), reaper (two-hosts.sh) and ledgerclient (hold.sh) for the host
#   build-guests.sh agent      adds agent.initrd there: the proof guest with Debian's qemu-guest-agent; prints the folder
#   build-guests.sh qemu10     unpacks QEMU of <release>-backports and prints the path of its program
#   build-guests.sh disk MIB   prints the path of a raw disk of that size with the content that io=direct expects
#
# Nothing is installed: packages are downloaded with apt and unpacked. The cache is $UNDERSTUDY_CACHE, otherwise
# <repository>/.cache/guests. A change in guests/ or in this script makes a new folder, for it is named after their hash.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=${UNDERSTUDY_CACHE:-$here/../.cache/guests}

fail() {
    echo "build-guests.sh: $*" >&2
    exit 1
}

check_tools() {
    missing=
    for pair in gcc:gcc readelf:binutils cpio:cpio busybox:busybox-static apt-get:apt dpkg-deb:dpkg flock:util-linux; do
        command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair#*:}"
    done
    [ -e /usr/include/x86_64-linux-gnu/sys/types.h ] || missing="$missing libc6-dev"
    [ -z "$missing" ] || fail "packages are missing, install them:$missing"
    # The guests have no libraries beside those of redis and of the agent.
    ! readelf -d "$(command -v busybox)" 2>/dev/null | grep -q NEEDED || fail "busybox is not static, install busybox-static"
    [ "$(uname -m)" = x86_64 ] || fail "this machine is $(uname -m), the guests are x86_64"
}

# Downloads packages into the current folder; with old or no package lists it refreshes them once.
download() {
    apt-get -qq download "$@" 2>download.log || {
        apt-get -qq update >>download.log 2>&1 || true
        apt-get -qq download "$@" 2>>download.log || fail "cannot download $*: $(cat download.log)"
    }
}

kernel_package() {
    apt-cache depends linux-image-cloud-amd64 2>/dev/null | awk '$1 == "Depends:" && /linux-image-/ { print $2; exit }'
}

fetch_kernel() {
    [ ! -e "$cache/kernel/complete" ] || return 0
    rm -rf "$cache/kernel"
    mkdir -p "$cache/kernel"
    cd "$cache/kernel"
    package=$(kernel_package)
    if [ -z "$package" ]; then
        apt-get -qq update >/dev/null 2>&1 || true
        package=$(kernel_package)
    fi
    [ -n "$package" ] || fail "apt knows no package linux-image-cloud-amd64; check apt's sources and run apt-get update"
    download "$package"
    dpkg-deb -x "$package"_*.deb root
    dpkg-deb -f "$package"_*.deb Package Version >version
    rm "$package"_*.deb
    touch complete
}

fetch_redis() {
    [ ! -e "$cache/redis/complete" ] || return 0
    rm -rf "$cache/redis"
    mkdir -p "$cache/redis"
    cd "$cache/redis"
    # redis-server's own libraries; those of the machine may be of another release than the package.
    download redis-server redis-tools libjemalloc2 liblzf1 libatomic1 libssl3 libstdc++6 libgcc-s1 libsystemd0 libc6 \
        libcap2 libgcrypt20 libgpg-error0 liblzma5 liblz4-1 libzstd1
    for package in *.deb; do dpkg-deb -x "$package" root; done
    dpkg-deb -f redis-server_*.deb Package Version >version
    rm ./*.deb
    touch complete
}

fetch_agent() {
    [ ! -e "$cache/agent/complete" ] || return 0
    rm -rf "$cache/agent"
    mkdir -p "$cache/agent"
    cd "$cache/agent"
    download qemu-guest-agent libglib2.0-0 libpcre2-8-0 libudev1 libnuma1 liburing2 libc6
    for package in *.deb; do dpkg-deb -x "$package" root; done
    rm ./*.deb
    touch complete
}

# The kernel unpacks one archive after the other, so what is added to the proof guest lies behind it.
build_agent() {
    new=$cache/new-agent-$$
    trap 'rm -rf "$new"' EXIT
    fetch_agent
    mkdir -p "$new/root/etc"
    copy_with_libraries "$cache/agent/root" "$new/root" usr/sbin/qemu-ga
    cat >"$new/root/etc/guest" <<'GUEST'
port=$(grep -lx org.qemu.guest_agent.0 /sys/class/virtio-ports/*/name)
port=${port%/name}
# ACPI's general purpose event 5 says that there is a new generation ID (QEMU's docs/specs/vmgenid.txt).
while read -r events rest </sys/firmware/acpi/interrupts/gpe05; do
    [ "$events" = "$seen" ] || echo "guest: generation events: $events"
    seen=$events
    sleep 0.5
done &
[ -z "$port" ] || (mkdir -p /var/run && exec /usr/sbin/qemu-ga -m virtio-serial -p "/dev/${port##*/}" >/dev/null 2>&1) &
/bin/proof
GUEST
    pack "$new/root" "$new/agent.cpio"
    cat "$folder/proof.initrd" "$new/agent.cpio" >"$new/agent.initrd"
    mv "$new/agent.initrd" "$folder/agent.initrd"
}

# Copies a program of the unpacked packages and, file by file, the libraries it needs.
copy_with_libraries() { # FROM TO PROGRAM
    mkdir -p "$2/$(dirname "$3")" "$2/lib64" "$2/lib"
    cp -L "$1/$3" "$2/$3"
    cp -L "$1"/lib*/x86_64-linux-gnu/ld-linux-x86-64.so.2 "$2/lib64/"
    todo=$1/$3
    while [ -n "$todo" ]; do
        more=
        for needed in $(for file in $todo; do readelf -d "$file" | sed -n 's/.*(NEEDED).*\[\(.*\)\].*/\1/p'; done); do
            [ ! -e "$2/lib/$needed" ] || continue
            found=$(find "$1/lib" "$1/usr/lib" -name "$needed" | head -n 1)
            [ -n "$found" ] || fail "library $needed, which $3 needs, is in none of the unpacked packages"
            cp -L "$found" "$2/lib/$needed"
            more="$more $found"
        done
        todo=$more
    done
}

compile() { # SOURCE OUT
    gcc -std=gnu11 -O2 -static -s -Wall -Wextra -Wno-format-truncation -o "$2" "$here/guests/$1.c"
}

base_root() { # ROOT: what all guests have
    mkdir -p "$1/bin" "$1/etc"
    cp "$(command -v busybox)" "$1/bin/busybox"
    cp "$here/guests/init" "$1/init"
    chmod +x "$1/init"
    release=$(basename "$cache"/kernel/root/lib/modules/*)
    modules=$1/lib/modules/$release
    mkdir -p "$modules"
    for name in failover net_failover virtio virtio_ring virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci \
        virtio_blk virtio_net virtio_balloon virtio_console virtio-rng evdev button pvpanic pvpanic-mmio pvpanic-pci; do
        file=$(find "$cache/kernel/root/lib/modules" -name "$name.ko" | head -n 1)
        [ -n "$file" ] || fail "kernel $release has no module $name"
        cp "$file" "$modules/"
    done
    busybox depmod -b "$1" "$release" 2>/dev/null || (cd "$1" && busybox depmod -b . "$release")
    [ -s "$modules/modules.dep" ] || fail "depmod wrote no modules.dep for kernel $release"
    cp "$new/ioread" "$new/rekernel" "$1/bin/"
}

pack() { # ROOT INITRD: not compressed, for the guest unpacks it under emulation
    (cd "$1" && find . | sort | cpio --quiet --reproducible -o -H newc -R 0:0) >"$2"
}

build() {
    new=$cache/new-$$
    trap 'rm -rf "$new"' EXIT
    mkdir -p "$new/proof/bin" "$new/redis/bin" "$new/ledger/bin"
    fetch_kernel
    fetch_redis
    compile ioread "$new/ioread"
    compile rekernel "$new/rekernel"
    compile reaper "$new/reaper"
    compile ledgerclient "$new/ledgerclient"
    compile ledger "$new/ledger/bin/ledger"
    compile proof "$new/proof/bin/proof"
    compile redisload "$new/redis/bin/redisload"
    base_root "$new/proof"
    echo '/bin/proof' >"$new/proof/etc/guest"
    base_root "$new/ledger"
    echo '/bin/ledger' >"$new/ledger/etc/guest"
    base_root "$new/redis"
    copy_with_libraries "$cache/redis/root" "$new/redis" usr/bin/redis-check-rdb
    mv "$new/redis/usr/bin/redis-check-rdb" "$new/redis/usr/bin/redis-server" # one program, its name says what it is
    copy_with_libraries "$cache/redis/root" "$new/redis" usr/bin/redis-cli
    cat >"$new/redis/etc/guest" <<'GUEST'
# On a network redis can be asked from outside, too: printf 'GET last\r\n' | busybox nc 10.77.0.100 6379
[ "$(value net 0)" = 1 ] && port=6379 || port=0
/usr/bin/redis-server --port $port --protected-mode no --unixsocket /run/redis.sock --save '' --appendonly no --daemonize no --logfile /run/redis.log &
/bin/redisload
GUEST
    for guest in proof redis ledger; do
        pack "$new/$guest" "$new/$guest.initrd"
        rm -rf "${new:?}/$guest"
    done
    cp "$cache"/kernel/root/boot/vmlinuz-* "$new/vmlinuz"
    { cat "$cache/kernel/version" "$cache/redis/version"; (cd "$new" && sha256sum vmlinuz proof.initrd redis.initrd ledger.initrd); } >"$new/versions"
    mv "$new" "$1"
}

# A package tree beside the machine's own: only what qemu-system-x86 of the backports needs and the machine lacks.
unpack_qemu10() {
    made_by=$(cksum <"$here/build-guests.sh")
    [ "$(cat "$cache/qemu10/complete" 2>/dev/null)" != "$made_by" ] || return 0
    rm -rf "$cache/qemu10"
    mkdir -p "$cache/qemu10/apt/lists/partial" "$cache/qemu10/apt/archives/partial"
    cd "$cache/qemu10"
    # shellcheck disable=SC1091
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    # The mirror is the one the machine already uses for its release.
    # shellcheck disable=SC2016
    mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' |
        awk -v release="$codename" '$2 == release { print $1; exit }')
    [ -n "$mirror" ] || fail "no mirror for release $codename among apt's sources"
    keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    for suite in "$codename" "$codename-backports"; do
        echo "deb [signed-by=$keyring] $mirror $suite main"
    done >apt/sources.list
    # QEMU_APT is words on purpose.
    QEMU_APT="-o Dir::Etc::sourcelist=$PWD/apt/sources.list -o Dir::Etc::sourceparts=- -o Dir::State::lists=$PWD/apt/lists
        -o Dir::Cache=$PWD/apt -o Dir::Cache::archives=$PWD/apt/archives -o Debug::NoLocking=1 -o APT::Sandbox::User=root"
    # shellcheck disable=SC2086
    apt-get -qq $QEMU_APT update >apt/log 2>&1 || fail "cannot read $codename-backports: $(cat apt/log)"
    # All modules, for QEMU would otherwise load the machine's own of another build, and abort.
    # shellcheck disable=SC2086
    apt-get -y -qq $QEMU_APT --no-install-recommends -d -t "$codename-backports" install qemu-system-x86 seabios ipxe-qemu ovmf \
        qemu-system-modules-opengl qemu-system-modules-spice \
        >>apt/log 2>&1 || fail "cannot download qemu-system-x86 of $codename-backports: $(tail -n 5 apt/log)"
    for package in apt/archives/*.deb; do
        # The machine's C library stays: a second one beside its loader breaks every program.
        case $package in */libc6_*|*/libc-bin_*) continue ;; esac
        dpkg-deb -x "$package" root
    done
    rm -rf apt
    cat >qemu-system-x86_64 <<WRAPPER
#!/bin/sh
# QEMU of $codename-backports, only unpacked. exec keeps the process id.
root='$cache/qemu10/root'
export LD_LIBRARY_PATH="\$root/usr/lib/x86_64-linux-gnu"
export QEMU_MODULE_DIR="\$root/usr/lib/x86_64-linux-gnu/qemu"
exec "\$root/usr/bin/qemu-system-x86_64" -L "\$root/usr/share/qemu" -L "\$root/usr/share/seabios" -L "\$root/usr/lib/ipxe/qemu" "\$@"
WRAPPER
    chmod +x qemu-system-x86_64
    ./qemu-system-x86_64 --version >version 2>&1 || fail "the unpacked QEMU does not run: $(cat version)"
    echo "$made_by" >complete
}

command=${1:-guests}
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
key=$(cat "$0" "$here"/guests/* | sha256sum | cut -c 1-16)
folder=$cache/$key

exec 9>"$cache/lock"
flock 9
case $command in
guests | disk | agent)
    if [ ! -e "$folder/versions" ]; then
        check_tools
        (build "$folder") 9>&-
    fi
    [ "$command" != agent ] || [ -e "$folder/agent.initrd" ] || (build_agent) 9>&-
    if [ "$command" = disk ]; then
        mib=${2:?build-guests.sh disk MIB}
        disk=$cache/disk-$mib.raw
        if [ ! -e "$disk" ]; then
            "$folder/ioread" mkdisk "$disk.new" "$mib"
            mv "$disk.new" "$disk"
        fi
        echo "$disk"
    else
        echo "$folder"
    fi
    ;;
qemu10)
    (unpack_qemu10) 9>&-
    echo "$cache/qemu10/qemu-system-x86_64"
    ;;
*) fail "unknown command $command; expected nothing, agent, qemu10 or disk MIB" ;;
esac
