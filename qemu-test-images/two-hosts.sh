#!/bin/sh
# Two hosts on one machine, for tests and the demo: network, mount and host name of their own, with real virtlogd and
# libvirtd, joined by two cables. Needs root. All of a test bed lies in DIR, and "down" leaves nothing behind.
#
#   two-hosts.sh up DIR                          starts hosts a and b
#   two-hosts.sh down DIR                        ends everything that runs in them, QEMUs too, and deletes DIR; may be repeated
#   two-hosts.sh exec DIR a|b COMMAND...         runs a command in a host, in the current folder
#   two-hosts.sh link DIR down|up                cuts or mends the first cable: packets vanish, nobody is told
#   two-hosts.sh link DIR delay MS|rate MBIT     makes it slow, both ways; 0 ends that
#   two-hosts.sh second DIR down|up|delay|rate   the same for the second cable
#
# Addresses: a is 10.77.0.1 and b 10.77.0.2 on bridge br0, where guests are plugged in, too (a guest reaches both hosts), and
# 10.78.0.1 and 10.78.0.2 on interface second0. Other prefixes: UNDERSTUDY_NET and UNDERSTUDY_SECOND_NET ("10.77.0").
# QEMU runs as root; with UNDERSTUDY_QEMU_USER=package as the user that libvirt's package provides, sandboxed, which owns its files.
# Each host has its own /run, /etc/libvirt and /var/{lib,log,cache}/libvirt (and /etc/understudy, /var/lib/understudy where
# the machine has them); outside they are DIR/a/run, DIR/a/etc and so on.
set -eu

fail() {
    echo "two-hosts.sh: $*" >&2
    exit 1
}

usage() {
    sed -n 's/^#   //p' "$0" >&2
    exit 2
}

# The names of the network namespaces follow from DIR, so that "down" finds them whatever happened to DIR.
names() {
    id=us$(printf %s "$dir" | cksum | cut -d ' ' -f 1)
    net_a=$id-a
    net_b=$id-b
}

net_of() {
    case $1 in
    a) echo "$net_a" ;;
    b) echo "$net_b" ;;
    *) fail "there is no host \"$1\", only a and b" ;;
    esac
}

enter() { # HOST COMMAND...
    net=$(net_of "$1")
    anchor=$(cat "$dir/$1/anchor" 2>/dev/null) || fail "$dir has no running host $1; start it with: two-hosts.sh up $dir"
    # A process id alone may have been reused; the namespace tells that it is ours.
    [ "$(stat -Lc %i "/proc/$anchor/ns/net" 2>/dev/null)" = "$(stat -Lc %i "/run/netns/$net" 2>/dev/null)" ] ||
        fail "host $1 of $dir does not run any more (process $anchor); see $dir/$1/host.log"
    shift
    # The folder is entered again inside, where it may be another one.
    # shellcheck disable=SC2016
    exec nsenter --target "$anchor" --mount --net --uts -- \
        sh -c 'cd "$1" 2>/dev/null || cd /; shift; exec "$@"' sh "$PWD" "$@"
}

check() {
    [ "$(id -u)" = 0 ] || fail "must be root, is user $(id -u)"
    missing=
    for pair in ip:iproute2 nsenter:util-linux unshare:util-linux virsh:libvirt-clients libvirtd:libvirt-daemon-system \
        virtlogd:libvirt-daemon-system qemu-system-x86_64:qemu-system-x86; do
        command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair#*:}"
    done
    [ -z "$missing" ] || fail "packages are missing, install them:$missing"
    case $dir in /run/* | /var/run/* | /etc/libvirt/* | /var/lib/libvirt/*) fail "$dir is hidden inside the hosts; take another" ;; esac
    [ ${#dir} -le 64 ] || fail "$dir is longer than 64 characters, too long for UNIX sockets below it"
    ! { [ -e "$dir/a" ] || [ -e "/run/netns/$net_a" ]; } || fail "$dir is up already, or not cleaned: two-hosts.sh down $dir"
    ! ip -4 route show "$prefix.0/24" | grep -q . || fail "the machine itself uses $prefix.0/24; set UNDERSTUDY_NET to another"
}

configure() { # HOST NUMBER
    for folder in run etc/hooks lib/serial log cache; do mkdir -p "$dir/$1/$folder"; done
    chmod 755 "$dir/$1/run"
    # What a host in namespaces cannot have: security modules, control groups and a /dev of its own for each guest.
    cat >"$dir/$1/etc/qemu.conf" <<CONF
security_driver = "none"
cgroup_controllers = []
namespaces = []
CONF
    case ${UNDERSTUDY_QEMU_USER:-root} in
    root) printf '%s\n' 'user = "root"' 'group = "root"' 'dynamic_ownership = 0' 'remember_owner = 0' ;;
    package) echo 'seccomp_sandbox = 1' ;;
    *) fail "UNDERSTUDY_QEMU_USER is \"$UNDERSTUDY_QEMU_USER\", expected root or package" ;;
    esac >>"$dir/$1/etc/qemu.conf"
    printf '127.0.0.1 localhost\n%s.1 host-a\n%s.2 host-b\n' "$prefix" "$prefix" >"$dir/$1/hosts"
    # The two would have one machine's UUID, and libvirt refuses to migrate to the same host.
    cat >"$dir/$1/etc/libvirtd.conf" <<CONF
host_uuid = "$(cat /proc/sys/kernel/random/uuid)"
listen_tls = 0
listen_tcp = 1
listen_addr = "$prefix.$2"
auth_tcp = "none"
auth_unix_rw = "none"
unix_sock_group = "root"
CONF
    # A serial port is one file, however long it gets.
    printf 'max_size = 0\n' >"$dir/$1/etc/virtlogd.conf"
}

# Runs inside a new host, as the child of its first process.
host() { # HOST
    own=$dir/$1
    # /sys as this network namespace sees it; the control groups stay.
    mkdir -p "$own/cgroup"
    mount --rbind /sys/fs/cgroup "$own/cgroup"
    mount -t sysfs sysfs /sys
    mount --move "$own/cgroup" /sys/fs/cgroup
    mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null || true # not every kernel has it
    mount --bind "$own/hosts" /etc/hosts
    mount --bind "$own/run" /run
    mount --bind "$own/etc" /etc/libvirt
    mount --bind "$own/lib" /var/lib/libvirt
    mount --bind "$own/log" /var/log/libvirt
    mount --bind "$own/cache" /var/cache/libvirt
    for pair in etc-understudy:/etc/understudy lib-understudy:/var/lib/understudy; do
        if [ -d "${pair#*:}" ]; then
            mkdir -p "$own/${pair%%:*}"
            mount --bind "$own/${pair%%:*}" "${pair#*:}"
        fi
    done
    hostname "host-$1"
    virtlogd &
    echo $! >"$own/virtlogd.pid"
    libvirtd --listen &
    echo $! >"$own/libvirtd.pid"
    echo "$PPID" >"$own/anchor.new"
    mv "$own/anchor.new" "$own/anchor"
}

start() { # HOST NUMBER
    net=$(net_of "$1")
    in_net="ip -n $net"
    # in_net is words on purpose.
    # shellcheck disable=SC2086
    {
        $in_net link set lo up
        # An address of its own: else the bridge takes the lowest of its ports', and a guest's port has the same one on both
        # hosts: frames for a bridge that took that one would end at the other host.
        $in_net link add br0 address "52:54:00:77:ff:0$2" type bridge stp_state 0
        $in_net link set up0 master br0
        $in_net addr add "$prefix.$2/24" dev br0
        $in_net addr add "$second.$2/24" dev second0
        for device in br0 up0 second0; do $in_net link set "$device" up; done
    }
    # The host outlives this script and whoever called it: no terminal, no inherited descriptor.
    setsid nsenter --net="/run/netns/$net" unshare --mount --uts --propagation private \
        "$reaper" "$0" host "$dir" "$1" </dev/null >"$dir/$1/host.log" 2>&1 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- &
}

await() { # HOST
    tries=0
    until (enter "$1" virsh -q -c qemu:///system list) >"$dir/$1/await.log" 2>&1; do
        tries=$((tries + 1))
        [ $tries -le 150 ] || fail "libvirtd of host $1 does not answer within 30 s: $(cat "$dir/$1/await.log" "$dir/$1/host.log")"
        sleep 0.2
    done
}

up() {
    check
    reaper=$("$(dirname "$0")/build-guests.sh")/reaper
    trap '[ $? = 0 ] || (down)' EXIT
    mkdir -p "$dir"
    ip netns add "$net_a"
    ip netns add "$net_b"
    for cable in up0 second0; do ip link add "$cable" netns "$net_a" type veth peer name "$cable" netns "$net_b"; done
    configure a 1
    configure b 2
    start a 1
    start b 2
    await a
    await b
    await_cable up0
    await_cable second0
}

down() {
    for net in "$net_a" "$net_b"; do
        [ -e "/run/netns/$net" ] || continue
        # Everything in the namespace is ours, whoever started it. Again, as it may be forking; the first process goes last,
        # as it buries the others.
        anchor=$(cat "$dir/${net##*-}/anchor" 2>/dev/null || echo none)
        tries=0
        while pids=$(ip netns pids "$net" | grep -vx "$anchor"); do
            for pid in $pids; do kill -9 "$pid" 2>/dev/null || true; done
            tries=$((tries + 1))
            [ $tries -le 200 ] || fail "processes of $net do not end: $pids"
            sleep 0.05
        done
        ! ip netns pids "$net" | grep -qx "$anchor" || kill -9 "$anchor"
        ip netns del "$net"
    done
    rm -rf "$dir/a" "$dir/b"
    rmdir "$dir" 2>/dev/null || true
}

# The kernel takes up to a second to see a cable, and a bridge forwards nothing before.
await_cable() { # DEVICE
    for net in "$net_a" "$net_b"; do
        tries=0
        until ip -n "$net" -d link show dev "$1" | grep -q 'LOWER_UP' &&
            { [ "$1" != up0 ] || ip -n "$net" -d link show dev up0 | grep -q 'state forwarding'; }; do
            tries=$((tries + 1))
            [ $tries -le 100 ] || fail "cable $1 does not come up: $(ip -n "$net" -d link show dev "$1")"
            sleep 0.05
        done
    done
}

cable() { # DEVICE down|up|delay|rate VALUE
    case $2 in
    # The bridge stays up, so its addresses and routes stay: packets vanish, as behind a switch.
    down | up)
        for net in "$net_a" "$net_b"; do ip -n "$net" link set "$1" "$2"; done
        [ "$2" = down ] || await_cable "$1"
        ;;
    delay | rate)
        value=${3:?two-hosts.sh link DIR $2 VALUE}
        for net in "$net_a" "$net_b"; do
            tc -n "$net" qdisc del dev "$1" root 2>/dev/null || true
            [ "$value" != 0 ] || continue
            if [ "$2" = rate ]; then
                tc -n "$net" qdisc add dev "$1" root tbf rate "${value}mbit" burst 256kb latency 200ms
            else
                tc -n "$net" qdisc add dev "$1" root netem delay "${value}ms" limit 100000 2>/dev/null ||
                    fail "this kernel cannot delay packets (no sch_netem); \"rate MBIT\" works"
            fi
        done
        ;;
    *) usage ;;
    esac
}

[ $# -ge 2 ] || usage
command=$1
mkdir -p "$(dirname "$2")"
dir=$(cd "$(dirname "$2")" && pwd)/$(basename "$2")
shift 2
prefix=${UNDERSTUDY_NET:-10.77.0}
second=${UNDERSTUDY_SECOND_NET:-10.78.0}
names
case $command in
up) up ;;
down) down ;;
host) host "$1" ;;
exec) [ $# -ge 2 ] || usage; enter "$@" ;;
link) [ $# -ge 1 ] || usage; cable up0 "$@" ;;
second) [ $# -ge 1 ] || usage; cable second0 "$@" ;;
*) usage ;;
esac
