# shellcheck shell=bash
# What demo.sh, soak.sh and bench.sh share: two hosts with a daemon each, a guest, a fence. Source it; "bed_up" first.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bin=${UNDERSTUDY_BIN:-$here/../libvirt-plugin/target/understudy/bin}

say() { printf '%s\n' "$*"; }
fail() {
  say "$(basename "$0" .sh): $*"
  exit 1
}
now_ms() { date +%s%3N; }
on() {
  local host=$1
  shift
  "$here/two-hosts.sh" exec "$work" "$host" "$@"
}
us() {
  local host=$1
  shift
  on "$host" "$bin/understudy" --config "$work/$host.conf" "$@"
}
virsh_on() {
  local host=$1
  shift
  on "$host" virsh -q -c qemu:///system "$@"
}

await() { # seconds, what, command...
  local deadline=$(($(date +%s) + $1)) what=$2
  shift 2
  until "$@"; do
    [ "$(date +%s)" -lt "$deadline" ] || fail "waited in vain for $what"
    sleep 0.1
  done
}

# One value of "understudy status --json".
field() { us "$1" status "$domain" --json 2>/dev/null | sed -n "s/^ *\"$2\" : \"\{0,1\}\([^\",]*\).*/\1/p" | head -n 1; }
is() { [ "$(field "$1" "$2")" = "$3" ]; }

serial() { cat "$work/$1/lib/serial/$domain.log" 2>/dev/null || true; }
last_count() { serial "$1" | tr -d '\r' | sed -n 's/^redis last=\([0-9]*\) ok.*/\1/p; s/^proof \([0-9]*\) ok.*/\1/p' | tail -n 1; }
last_pass() { serial "$1" | tr -d '\r' | sed -n 's/.* pass=\([0-9]*\).*/\1/p' | tail -n 1; }
broken() { serial "$1" | grep -aE 'FAILED|Kernel panic' | head -n 1; }

configure() { # host
  mkdir -p "$work/$1-us"
  cat >"$work/$1.conf" <<EOF
[host]
name = $1
state-dir = $work/$1-us/state
run-dir = $work/$1-us/run
${guard_net:+guard-address = $guard_net.$([ "$1" = a ] && echo 1 || echo 2)}
[protect]
interval-ms = ${interval_ms:-1000}
${protect_lines-}
start-unheard = ${start_unheard:-allow}
[fence]
provider = exec
exec = $work/$1-fence
timeout-ms = ${fence_timeout_ms:-10000}
EOF
}

# The fence of the bed: the other host's power switch for one guest. It says off only when QEMU is gone.
write_fence() { # host that fences, host to be fenced, works|broken|slow
  if [ "$3" = broken ]; then
    printf '#!/bin/sh\necho "the power switch of host %s does not answer"\nexit 1\n' "$2" >"$work/$1-fence"
  else
    cat >"$work/$1-fence" <<EOF
#!/bin/sh
# off|status NAME UUID HOST
# Every QEMU of that UUID in the other host's network, found anew each time; without that host's anchor nobody can say.
net=\$(readlink "/proc/\$(cat "$work/$2/anchor")/ns/net") || { echo "host $2 has no anchor"; exit 1; }
pids() {
  for pid in \$(pgrep -f "qemu-system.*-uuid \$1"); do
    if [ "\$(readlink "/proc/\$pid/ns/net")" = "\$net" ]; then echo "\$pid"; fi
  done
}
runs() { [ -n "\$(pids "\$1")" ]; }
case \$1 in
off)
  $([ "$3" != slow ] || echo sleep 5)
  for pid in \$(pids "\$3"); do kill -9 "\$pid"; done
  for i in 1 2 3 4 5 6 7 8 9 10; do runs "\$3" || exit 0; sleep 0.1; done
  exit 1 ;;
status) if runs "\$3"; then echo on; else echo off; fi ;;
esac
EOF
  fi
  chmod +x "$work/$1-fence"
}

daemon_up() { # host
  on "$1" setsid "$bin/understudyd" --config "$work/$1.conf" >>"$work/$1.log" 2>&1 </dev/null &
  echo $! >"$work/$1.daemon"
  await "${daemon_wait_s:-30}" "the daemon on $1" listens "$1"
}
listens() { us "$1" list >/dev/null 2>&1; }

hook_up() { # host
  us "$1" install-hook >/dev/null
  kill -HUP "$(cat "$work/$1/libvirtd.pid")"
}

trust() { # host, of host, address
  local key
  key=$(us "$2" identity | sed -n 's/.*\(\(ssh-\|ecdsa-\)[a-z0-9-]* [A-Za-z0-9+\/=]*\).*/\1/p' | head -n 1)
  us "$1" trust "$2" "$3:16520" --key "$key" >/dev/null
}

bed_up() {
  "$here/two-hosts.sh" up "$work" >/dev/null
  for host in a b; do configure $host; done
  write_fence a b works
  write_fence b a works
  trust a b 10.77.0.2
  trust b a 10.77.0.1
  for host in a b; do hook_up $host; done
  for host in a b; do daemon_up $host; done
}

# Defines and starts a guest on host a. The same read-only disk lies on both hosts; with own_images=yes kernel, initrd and disk lie in
# each host's own /var/lib/libvirt/images, so that libvirt may give them to QEMU's user. $domain_words and $device_words are XML that
# is added to the domain and to its devices.
guest_up() { # image, memory in MiB, kernel words
  local images disk host xml=$work/$domain.xml
  images=$("$here/build-guests.sh")
  disk=$("$here/build-guests.sh" disk 64)
  if [ "${own_images:-no}" = yes ]; then
    for host in a b; do
      mkdir -p "$work/$host/lib/images"
      cp "$images/vmlinuz" "$images/$1.initrd" "$disk" "$work/$host/lib/images/"
    done
    images=/var/lib/libvirt/images
    disk=$images/$(basename "$disk")
  fi
  sed -e "s|@NAME@|$domain|g; s|@UUID@|$(cat /proc/sys/kernel/random/uuid)|; s|@MEMORY_MIB@|$2|; s|@VCPUS@|${vcpus:-2}|" \
    -e "s|@MACHINE@|pc-q35-7.2|; s|@FIRMWARE@||; s|@VIDEO@||; s|@EMULATOR@|/usr/bin/qemu-system-x86_64|" \
    -e "s|@KERNEL@|$images/vmlinuz|; s|@INITRD@|$images/$1.initrd|; s|@DISK@|$disk|; s|@MAC@|52:54:00:77:00:64|" \
    -e "s|<on_poweroff>|${domain_words:-}&|; s|<memballoon|${device_words:-}&|" \
    -e "s|@KERNEL_WORDS@|console=ttyS0 quiet net=1 net.addr=10.77.0.100/24 net.peer=10.77.0.1 io=${guest_io:-direct} $3|" \
    -e "s|<vcpu>|<vcpu${vcpus_now:+ current='$vcpus_now'}>|; s|</devices>|$(tr '\n' ' ' <<<"${devices:-}")&|" \
    "$here/src/main/resources/org/understudy/testbed/domain.xml" >"$xml"
  for host in a b; do mkdir -p "$work/$host/lib/serial"; done
  virsh_on a define "$xml" >/dev/null
  virsh_on a start "$domain" >/dev/null
  qemu_pid a >"$work/a.qemu"
}
qemu_pid() { cat "$work/$1/run/libvirt/qemu/$domain.pid" 2>/dev/null || true; }
ready() { serial "$1" | grep -aq ' ready'; }
counts_beyond() { [ "$(last_count "$1" || echo 0)" -gt "$2" ] 2>/dev/null; }
passes_beyond() { [ "$(last_pass "$1" || echo 0)" -gt "$2" ] 2>/dev/null; }

daemon_pid() { # the java process of a host's daemon
  pgrep -f "org.understudy.daemon.Understudyd --config $work/$1.conf" | head -n 1
}

bed_down() {
  for host in a b; do
    for pid in $(pgrep -f "org.understudy.*$work/$host" || true); do kill -9 "$pid" 2>/dev/null || true; done
  done
  "$here/two-hosts.sh" down "$work" >/dev/null
  rm -rf "$work"
}
