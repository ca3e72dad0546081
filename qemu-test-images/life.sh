#!/usr/bin/env bash
# The life of a protected guest: what its operator and it itself do while it is protected. After each act it is protected again, by
# itself, or status says why not; where its devices changed, it is then killed and goes on on the other host with the devices of its
# last epoch, its proof whole. Prints "ok NAME" or "not ok NAME: what was seen" for each case and "N passed, M failed" at the end.
#
#   life.sh [EXPRESSION]   all cases, or those whose names match; a case needs the guest where the one before left it
set -euo pipefail
work=$(mktemp -d /tmp/us-life.XXXX)
domain=proof
interval_ms=500
# shellcheck source=bed.sh
. "$(dirname "$0")/bed.sh"
# shellcheck source=checks.sh
. "$here/checks.sh"

# Where the guest runs, and where its standby is; a failover swaps them. In files, for a case runs in a subshell.
run_on() { cat "$work/runs-on"; }
stand_on() { if [ "$(run_on)" = a ]; then echo b; else echo a; fi; }
here_v() { virsh_on "$(run_on)" "$@"; }

state_on() { virsh_on "$1" domstate $domain 2>/dev/null || echo none; }
is_on() { [ "$(state_on "$1")" = "$2" ]; }
reason() { us "$1" status $domain --json 2>/dev/null | sed -n 's/^ *"reason" : "\(.*\)",$/\1/p' | head -n 1; }
off() { case $(state_on "$1") in "shut off" | none) ;; *) return 1 ;; esac; }

# One line, or several, done by the guest's shell; prints what they say.
guest() { printf '%s\nexit\n' "$*" | on "$(run_on)" timeout 10 busybox nc -w 5 10.77.0.100 1999; }
guest_says() { # pattern, words
  local pattern=$1
  shift
  guest "$@" | grep -Eq "$pattern"
}

# The proof since the guest's last start on this host: rising, two whole passes more, nothing broken.
mark() { serial "$1" | wc -c >"$work/$1.from"; }
since() { serial "$1" | tail -c "+$(($(cat "$work/$1.from" 2>/dev/null || echo 0) + 1))" | tr -d '\r'; }
passes() { since "$1" | sed -n 's/^proof .* pass=\([0-9]*\).*/\1/p' | tail -n 1; }
passed_beyond() { [ "$(passes "$1")" -gt "$2" ] 2>/dev/null; }
ready_since() { since "$1" | grep -q 'proof ready'; }
sound() { # host
  local seen
  await 60 "two passes of the proof" passed_beyond "$1" "$(($(passes "$1" || echo 0) + 1))"
  seen=$(since "$1" | grep -aE 'FAILED|Kernel panic' | head -n 1 || true)
  [ -z "$seen" ] || fail "the guest's proof is broken: $seen"
}

epoch_beyond() { is "$1" state PROTECTED && [ "$(field "$1" epoch || echo 0)" -gt "$2" ] 2>/dev/null; }
takeovers() { cat "$work/a.log" "$work/b.log" | grep -cE ': (FENC|PROMOTING)' || true; }
# After an act: protected again by epochs of its own, on the same QEMU, and nobody took over.
protected_again() {
  local host epoch
  host=$(run_on)
  epoch=$(field "$host" epoch || echo 0)
  await 60 "new epochs on $host, which says $(field "$host" state) $(reason "$host")" epoch_beyond "$host" "$((epoch + 2))"
  [ "$(takeovers)" = "$(cat "$work/takeovers")" ] || fail "somebody took over: $(grep -hE ': (FENC|PROMOTING)' "$work"/[ab].log | tail -n 1)"
  [ "$(qemu_pid "$host")" = "$(cat "$work/qemu")" ] || fail "QEMU is $(qemu_pid "$host"), was $(cat "$work/qemu")"
  is_on "$host" running || fail "domain is $(state_on "$host") on $host"
  is_on "$(stand_on)" paused || fail "the standby is $(state_on "$(stand_on)")"
}
said() { # host, pattern: an event with it
  grep -Eq "$2" "$work/$1.log" || fail "host $1 never said \"$2\""
}

protects() {
  us "$(run_on)" protect $domain --standby "$(stand_on)" --fast 25% >"$work/out" 2>"$work/err" || fail "protect: $(cat "$work/err")"
  await 60 "protection" is "$(run_on)" state PROTECTED
  qemu_pid "$(run_on)" >"$work/qemu"
  takeovers >"$work/takeovers"
}

# The guest's QEMU is killed: it goes on on the other host, its proof whole.
fails_over() {
  local from to before
  from=$(run_on) to=$(stand_on)
  before=$(last_count "$from")
  mark "$to"
  kill -9 "$(cat "$work/qemu")"
  await 60 "the failover to $to, which is $(field "$to" state) $(reason "$to")" is "$to" state RUNNING
  echo "$to" >"$work/runs-on"
  await 60 "the guest counting on $to" passed_beyond "$to" -1
  sound "$to"
  qemu_pid "$to" >"$work/qemu"
  takeovers >"$work/takeovers"
  say "from $before on"
}

nic_plugged() {
  here_v attach-interface $domain bridge br0 --model virtio --mac 52:54:00:77:00:65 --live
  protected_again
  [ "$(virsh_on "$(stand_on)" domiflist $domain | grep -c 52:54)" = 2 ] || fail "the standby has not two interfaces"
  guest "ip link set eth1 up; ip addr add 10.77.0.101/24 dev eth1" >/dev/null
  guest_says 10.77.0.101 "ip addr show dev eth1" || fail "the guest has no second interface"
  protected_again
}
nic_unplugged() {
  here_v detach-interface $domain bridge --mac 52:54:00:77:00:65 --live
  await 20 "the guest letting go of it" guest_says '^gone' "ls /sys/class/net/eth1 >/dev/null 2>&1 || echo gone"
  protected_again
  [ "$(virsh_on "$(stand_on)" domiflist $domain | grep -c 52:54)" = 1 ] || fail "the standby has not one interface"
}
cpu_plugged() {
  here_v setvcpus $domain 2 --live
  await 20 "the guest's second CPU" guest_says '^2$' 'echo 1 >/sys/devices/system/cpu/cpu1/online; nproc'
  protected_again
  [ "$(virsh_on "$(stand_on)" vcpucount $domain --current --live)" = 2 ] || fail "the standby has not two CPUs"
}
cpu_unplugged() {
  # libvirt waits 5 s for the guest, which may take longer.
  here_v setvcpus $domain 1 --live || true
  await 30 "the guest giving its second CPU up" guest_says '^1$' 'nproc'
  protected_again
  [ "$(virsh_on "$(stand_on)" vcpucount $domain --current --live)" = 1 ] || fail "the standby has not one CPU"
}
has_both() {
  guest_says '^2$' nproc || fail "the guest has $(guest nproc) CPUs"
  guest_says 10.77.0.101 "ip addr show dev eth1" || fail "the guest's second interface is gone"
  on "$(stand_on)" busybox ping -c 2 -w 10 10.77.0.101 >/dev/null || fail "its second interface does not answer"
}

boots_again() { # a command that makes it
  local host
  host=$(run_on)
  mark "$host"
  "$@" >/dev/null 2>&1 || true
  await 60 "the guest's new start" ready_since "$host"
  mark "$host" # a guest that goes down may lose its disk before its programs
  protected_again
  sound "$host"
}
resets() { boots_again here_v reset $domain; }
reboots() { boots_again guest '(sleep 1; reboot -f) </dev/null >/dev/null 2>&1 &'; }
power_button() { boots_again here_v reboot $domain --mode acpi; }
rekernels() {
  local before
  before=$(serial "$(run_on)" | grep -c 'another kernel begins' || true)
  boots_again guest '/bin/rekernel /dev/vdb </dev/null >/dev/ttyS0 2>&1 &'
  [ "$(serial "$(run_on)" | grep -c 'another kernel begins')" -gt "$before" ] || fail "no kernel was begun without the firmware"
}

# Anonymous memory is given away and taken back.
balloons() {
  local before
  before=$(guest "sed -n 's/^MemFree: *\([0-9]*\).*/\1/p' /proc/meminfo")
  here_v setmem $domain 200M --live
  await 30 "the balloon" balloon_is 204800
  protected_again
  here_v setmem $domain 256M --live
  await 30 "the balloon's end" balloon_is 262144
  protected_again
  here_v setmem $domain 220M --live
  await 30 "the balloon" balloon_is 225280
  protected_again
}
balloon_is() { here_v dommemstat $domain | grep -q "^actual $1$"; }

media_change() {
  local host other disc standby
  host=$(run_on) other=$(stand_on)
  standby=$(qemu_pid "$other")
  disc=$work/$host/lib/disc.iso
  head -c 1M /dev/urandom >"$disc"
  here_v change-media $domain sda /var/lib/libvirt/disc.iso --live --insert >/dev/null
  await 30 "the sentence about the medium" says_reason "$host" 'needs /var/lib/libvirt/disc.iso, which the standby host does not have'
  is "$host" state DEGRADED || fail "$host says $(field "$host" state)"
  [ "$(qemu_pid "$other")" = "$standby" ] || fail "the standby of before is gone"
  cp "$disc" "$work/$other/lib/disc.iso"
  protected_again
  virsh_on "$other" domblklist $domain | grep -q disc.iso || fail "the standby has no such medium"
  here_v change-media $domain sda --live --eject >/dev/null
  await 30 "the standby without the medium" no_medium "$other"
  protected_again
}
# The standby cannot follow, and the host dies: the guest goes on as it was committed last, without the medium.
without_medium() {
  local host other
  host=$(run_on) other=$(stand_on)
  rm "$work/$other/lib/disc.iso"
  here_v change-media $domain sda /var/lib/libvirt/disc.iso --live --insert >/dev/null
  await 30 "the sentence about the medium" says_reason "$host" 'which the standby host does not have'
  fails_over
  no_medium_in "$other" || fail "it has the medium"
}
no_medium_in() { ! virsh_on "$1" domblklist $domain | grep -q disc.iso; }
says_reason() { reason "$1" | grep -Eq "$2"; }
no_medium() { is_on "$1" paused && no_medium_in "$1"; }

unfit_for_a_while() {
  truncate -s 1M "$work/written.raw"
  here_v attach-disk $domain "$work/written.raw" vdc --targetbus virtio --live
  await 30 "the sentence about the disk" says_reason "$(run_on)" 'writable disk vdc'
  is "$(run_on)" state DEGRADED || fail "$(run_on) says $(field "$(run_on)" state)"
  reason "$(run_on)" >"$work/sentence"
  here_v detach-disk $domain vdc --live
  protected_again
  cat "$work/sentence"
}

# A device that only QEMU knows: no standby can be made with it.
behind_libvirt() {
  here_v qemu-monitor-command $domain '{"execute": "device_add", "arguments": {"driver": "e1000e", "id": "sneaked", "bus": "pci.8"}}' \
    >"$work/out" 2>&1
  grep -q '"return"' "$work/out" || fail "QEMU: $(cat "$work/out")"
  await 30 "the sentence about the device" says_reason "$(run_on)" "has sneaked .e1000e., of which libvirt's XML knows nothing"
  reason "$(run_on)" >"$work/sentence"
  await 20 "the standby of before" is_on "$(stand_on)" paused
  here_v qemu-monitor-command $domain '{"execute": "device_del", "arguments": {"id": "sneaked"}}' >/dev/null
  protected_again
  cat "$work/sentence"
}

# libvirt plugs memory only into a domain with NUMA cells, which is refused at protect.
memory_refused() {
  echo "<memory model='dimm'><target><size unit='MiB'>128</size></target></memory>" >"$work/memory.xml"
  ! here_v attach-device $domain "$work/memory.xml" --live >"$work/out" 2>&1 || fail "libvirt plugged it in"
  protected_again
  sed -n 's/^error: //p' "$work/out" | grep -v 'Failed to attach' | head -n 1
}

suspended() {
  local host epoch
  host=$(run_on)
  here_v suspend $domain
  await 20 "its being known as suspended" is "$host" state SUSPENDED
  epoch=$(field "$host" epoch)
  sleep 3
  is "$host" epoch "$epoch" || fail "epochs go on: $(field "$host" epoch) after $epoch"
  is_on "$host" paused || fail "domain is $(state_on "$host")"
}
suspended_and_resumed() {
  suspended
  here_v resume $domain
  protected_again
  sound "$(run_on)"
}
# Its host dies while it is suspended: it is suspended on the other one.
suspended_fails_over() {
  local to
  to=$(stand_on)
  suspended
  mark "$to"
  kill -9 "$(cat "$work/qemu")"
  await 60 "the failover to $to, which is $(field "$to" state) $(reason "$to")" is "$to" state RUNNING
  echo "$to" >"$work/runs-on"
  sleep 2
  is_on "$to" paused || fail "the guest, suspended before, is $(state_on "$to")"
  [ -z "$(passes "$to")" ] || fail "the guest ran"
  reason "$to" >"$work/sentence"
  here_v resume $domain
  sound "$to"
  cat "$work/sentence"
}

# libvirt keeps the domain to itself for a while: a slow migration that somebody gives up.
long_job() {
  local host
  host=$(run_on)
  here_v migrate --live $domain "$(spare)" --migrateuri tcp://10.77.0.1 --unsafe --bandwidth 1 >"$work/migrate" 2>&1 &
  await 30 "the sentence about the job" says_reason "$host" 'libvirt is busy with a job'
  is "$host" state DEGRADED || fail "$host says $(field "$host" state)"
  reason "$host" >"$work/sentence"
  is_on "$host" running || fail "domain is $(state_on "$host")"
  here_v domjobabort $domain
  wait
  protected_again
  cat "$work/sentence"
}
dumps() {
  here_v dump $domain "$work/dump" --memory-only
  rm -f "$work/dump"
  protected_again
  sound "$(run_on)"
}
snapshot() {
  here_v snapshot-create-as $domain one --memspec "$work/memory" --diskspec vda,snapshot=no --diskspec vdb,snapshot=no \
    --diskspec sda,snapshot=no --live >/dev/null
  rm -f "$work/memory"
  protected_again
  sound "$(run_on)"
  here_v snapshot-delete $domain one --metadata >/dev/null
}

ends() { # why, host, a command that ends it
  local why=$1 host=$2 other standby
  shift 2
  other=$(stand_on)
  standby=$(qemu_pid "$other")
  "$@" >"$work/out" 2>&1 || true
  await 60 "the end of the guest on $host" off "$host"
  await 20 "the end of the standby, which is $(field "$other" state): $(reason "$other")" nothing_stands_by "$other"
  [ ! -d "/proc/$standby" ] || fail "the standby QEMU $standby still runs"
  [ "$(takeovers)" = "$(cat "$work/takeovers")" ] || fail "somebody took over: $(grep -hE ': (FENC|PROMOTING)' "$work"/[ab].log | tail -n 1)"
  is "$host" state ENDED || fail "$host says $(field "$host" state): $(reason "$host")"
  says_reason "$host" "$why" || fail "the reason is: $(reason "$host")"
  reason "$host"
}
nothing_stands_by() { ! us "$1" status $domain >/dev/null 2>&1 && off "$1"; }
starts() {
  mark "$(run_on)"
  here_v start $domain >/dev/null
  await 90 "the guest's proof" ready_since "$(run_on)"
}

# A libvirtd more, which host a has beside its own: somewhere to migrate to.
spare() { echo "qemu+tcp://10.77.0.1:16600/system"; }
spare_up() {
  local own=$work/c
  mkdir -p "$own/run" "$own/lib/serial" "$own/log" "$own/cache"
  cp -r "$work/a/etc" "$own/etc"
  sed -i "s|^host_uuid.*|host_uuid = \"$(cat /proc/sys/kernel/random/uuid)\"|; \$ a tcp_port = \"16600\"" "$own/etc/libvirtd.conf"
  # Words of the other shell.
  # shellcheck disable=SC2016
  on a setsid unshare --mount --propagation private sh -c 'for pair in run:/run etc:/etc/libvirt lib:/var/lib/libvirt log:/var/log/libvirt \
    cache:/var/cache/libvirt; do mount --bind "$1/${pair%%:*}" "${pair#*:}"; done; virtlogd & exec libvirtd --listen' sh "$own" \
    >"$own/log.txt" 2>&1 </dev/null &
  await 30 "libvirt on the spare host" on a virsh -q -c "$(spare)" list
}
migrates_away() {
  ends 'migrated' "$(run_on)" here_v migrate --live $domain "$(spare)" --migrateuri tcp://10.77.0.1 --unsafe
  [ "$(on a virsh -q -c "$(spare)" domstate $domain)" = running ] || fail "it does not run there: $(cat "$work/out")"
  on a virsh -q -c "$(spare)" destroy $domain >/dev/null
}
saved() {
  ends 'saved' "$(run_on)" here_v save $domain "$work/saved"
  mark "$(run_on)"
  here_v restore "$work/saved" >/dev/null
  rm -f "$work/saved"
  protects
  sound "$(run_on)"
}
panics() { ends 'panicked' "$(run_on)" guest '(sleep 1; echo c >/proc/sysrq-trigger) </dev/null >/dev/null 2>&1 &'; }

bed_up
images=$("$here/build-guests.sh")
"$images/rekernel" mkdisk "$work/kernel.raw" "$images/vmlinuz" "$images/proof.initrd"
ports=$(for i in 1 2 3 4 5 6 7 8; do printf "<controller type='pci' index='%s' model='pcie-root-port'/>" $i; done)
devices="<controller type='pci' index='0' model='pcie-root'/>$ports<panic model='isa'/>
<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='$work/kernel.raw'/><target dev='vdb' bus='virtio'/><readonly/></disk>
<disk type='file' device='cdrom'><target dev='sda' bus='sata'/><readonly/></disk>"
vcpus=2 vcpus_now=1
guest_up proof 256 "proof.size=24 proof.check=24 shell=1999"
echo a >"$work/runs-on"
await 120 "the proof in the guest" ready a

check "protection" protects
check "NIC plugged in" nic_plugged
check "NIC unplugged" nic_unplugged
check "CPU plugged in" cpu_plugged
check "CPU unplugged" cpu_unplugged
check "NIC plugged in again" nic_plugged
check "CPU plugged in again" cpu_plugged
check "failover with both" fails_over
check "both are there" has_both
check "protection in the other direction" protects
check "suspended and resumed" suspended_and_resumed
check "crash while suspended" suspended_fails_over
check "protection" protects
check "balloon" balloons
check "reboot by the guest" reboots
check "reset" resets
check "reboot by the power button" power_button
check "medium that the standby host has not" media_change
check "failover with a medium that the standby host has not" without_medium
check "protection in the other direction" protects
check "disk that cannot be protected" unfit_for_a_while
check "device that only QEMU knows" behind_libvirt
check "memory plugged in" memory_refused
check "kernel without the firmware" rekernels
check "failover after it" fails_over
check "protection" protects
spare_up
check "long job of libvirt" long_job
check "dump" dumps
check "snapshot of the memory" snapshot
check "save ends it" saved
check "migration to a third host ends it" migrates_away
starts
check "protection" protects
check "panic ends it" panics
