#!/usr/bin/env bash
# A guest whose host dies goes on on the other host, is protected from there, and comes back when that one dies:
#   round-trip.sh                      QEMU as root
#   UNPRIVILEGED=1 round-trip.sh       QEMU as libvirt's package has it on both hosts: user libvirt-qemu, seccomp sandbox, files of its own
#   NESTED=1 round-trip.sh             with deadlines for a machine that is itself emulated (nested.sh)
# Prints "ok NAME (figures)" or "not ok NAME: what was seen" for each step and "N passed, M failed" at the end; after a failure it stops.
set -euo pipefail
work=$(mktemp -d /tmp/us-trip.XXXX)
domain=proof
limit_s=120
memory_mib=192 guest_words="proof.size=32"
if [ "${NESTED:-0}" = 1 ]; then
  # Under TCG inside TCG a Java process starts in seconds and a guest boots in minutes.
  interval_ms=5000 fence_timeout_ms=60000 limit_s=400 daemon_wait_s=120 vcpus=1 memory_mib=96
  guest_words="proof.size=8 proof.rate=1 proof.touch=8 proof.line=500 proof.check=4 io.rate=10"
  protect_lines=$'heartbeat-ms = 1000\nsilent-after-ms = 20000\npause-deadline-ms = 10000'
fi
[ "${UNPRIVILEGED:-0}" = 1 ] && export UNDERSTUDY_QEMU_USER=package
own_images=yes
# shellcheck source=bed.sh
. "$(dirname "$0")/bed.sh"
passed=0 failed=0
sysctl=/proc/sys/vm/unprivileged_userfaultfd
sysctl_before=$(cat $sysctl)

finish() {
  rc=$?
  trap - EXIT
  echo "$sysctl_before" >$sysctl
  if [ $rc -ne 0 ]; then
    for host in a b; do
      say "--- the daemon on $host"
      tail -n 40 "$work/$host.log" 2>/dev/null || true
      say "--- the guest on $host"
      serial $host | tail -n 5
      say "--- QEMU on $host"
      tail -n 5 "$work/$host/log/qemu/$domain.log" 2>/dev/null || true
    done
  fi
  bed_down || rc=1
  [ $rc -eq 0 ] || [ $failed -gt 0 ] || say "the round trip stopped early"
  say "$passed passed, $failed failed"
  exit $rc
}
trap finish EXIT
trap 'exit 130' INT TERM

step() { # name, command...
  local name=$1 begin seen rc=0
  shift
  begin=$(now_ms)
  set +e
  seen=$(
    set -e
    "$@" 2>&1
  )
  rc=$?
  set -e
  if [ $rc -ne 0 ]; then
    failed=$((failed + 1))
    say "not ok  $name: $(tail -n 3 <<<"$seen" | tr '\n' ' ')"
    exit 1
  fi
  passed=$((passed + 1))
  say "ok  $name ($((($(now_ms) - begin) / 1000)) s${seen:+, $(tail -n 1 <<<"$seen")})"
}

# --- the steps

epoch_beyond() { [ "$(field "$1" epoch || echo 0)" -gt "$2" ] 2>/dev/null; }
protect() { # from, to
  us "$1" protect $domain --standby "$2" --fast 50% >"$work/out" 2>&1 || fail "protect: $(cat "$work/out")"
  await "$limit_s" "protection on $1, which is $(field "$1" state): $(field "$1" reason)" is "$1" state PROTECTED
  await "$limit_s" "three epochs" epoch_beyond "$1" 3
  [ "$(virsh_on "$2" domstate $domain)" = paused ] || fail "the standby on $2 is $(virsh_on "$2" domstate $domain), expected paused"
  qemu_pid "$1" >"$work/$1.qemu"
  say "dirty log $(field "$1" dirtyLog), epoch $(field "$1" epoch)"
}

said() { serial "$1" | tail -c +$(($2 + 1)) | tr -d '\r'; }
counted() { said "$1" "$2" | sed -n 's/^proof \([0-9]*\) ok.*/\1/p' | "${3:-head}" -n 1; }
heard() { [ -n "$(counted "$1" "$2")" ]; }
pass_since() { said "$1" "$2" | sed -n 's/^proof .* pass=\([0-9]*\)$/\1/p' | "$3" -n 1; }
# The pass that the failover fell into and two whole ones.
proved() {
  local first last
  first=$(pass_since "$1" "$2" head) last=$(pass_since "$1" "$2" tail)
  [ -n "$first" ] && [ "$last" -ge $((first + 3)) ]
}
takes_over() { # from, to
  local before after bytes killed_ms took_ms
  bytes=$(serial "$2" | wc -c)
  before=$(last_count "$1")
  killed_ms=$(now_ms)
  kill -9 "$(cat "$work/$1.qemu")" "$(daemon_pid "$1")"
  await "$limit_s" "the guest's first line on $2, which is $(field "$2" state): $(field "$2" reason)" heard "$2" "$bytes"
  took_ms=$(($(now_ms) - killed_ms))
  after=$(counted "$2" "$bytes")
  await "$limit_s" "two passes of the proof on $2" proved "$2" "$bytes"
  ! said "$2" "$bytes" | grep -aE 'FAILED|Kernel panic' || fail "the guest's proof is broken"
  [ "$(virsh_on "$2" domstate $domain)" = running ] || fail "domain is $(virsh_on "$2" domstate $domain) on $2"
  [ ! -d "/proc/$(cat "$work/$1.qemu")" ] || fail "QEMU on $1 still runs"
  say "first line after $took_ms ms, $1 counted to $before, $2 goes on at $after"
}
daemon_again() {
  daemon_up "$1"
  await "$limit_s" "libvirt on $1" test "$(virsh_on "$1" list --name)" = ""
}

# QEMU's user and its sandbox, seen from outside.
runs_unprivileged() { # host
  local pid user filter
  pid=$(qemu_pid "$1")
  user=$(stat -c %U "/proc/$pid")
  filter=$(awk '/^Seccomp:/ { print $2 }' "/proc/$pid/status")
  [ "$user" = libvirt-qemu ] || fail "QEMU on $1 runs as $user, expected libvirt-qemu"
  [ "$filter" = 2 ] || fail "QEMU on $1 has seccomp mode $filter, expected 2 (filter)"
  [ "$(awk '/^CapEff:/ { print $2 }' "/proc/$pid/status")" = 0000000000000000 ] || fail "QEMU on $1 has capabilities"
  say "user $user, seccomp filter, no capability"
}
# Without the installation's sysctl both doctor and protect say what to do, and nothing happens to the guest.
refused_without_sysctl() {
  local rc=0
  echo 0 >$sysctl
  us b doctor >"$work/out" 2>&1 || true
  grep -q 'sysctl' "$work/out" || fail "doctor says nothing of the sysctl: $(cat "$work/out")"
  us a protect $domain --standby b >"$work/out" 2>&1 || rc=$?
  [ $rc = 1 ] && grep -q 'unprivileged_userfaultfd is 0, expected 1' "$work/out" || fail "protect ended with $rc: $(cat "$work/out")"
  tail -n 1 "$work/out"
}

nothing_in_the_way() { # host
  us "$1" doctor >"$work/out" 2>&1 || fail "doctor: $(grep -E '^(refused|error)' "$work/out")"
  tail -n 1 "$work/out"
}

bed_up
guest_up proof $memory_mib "$guest_words"
step "guest on a" await "$limit_s" "the proof in the guest" ready a
if [ "${UNPRIVILEGED:-0}" = 1 ]; then
  step "QEMU on a has no rights" runs_unprivileged a
  step "without the sysctl no standby" refused_without_sysctl
  echo 1 >$sysctl
  step "doctor on b" nothing_in_the_way b
fi
step "protection of a by b" protect a b
[ "${UNPRIVILEGED:-0}" != 1 ] || step "the standby on b has no rights" runs_unprivileged b
[ -z "${EXPECTED_LOG-}" ] || step "dirty log is $EXPECTED_LOG" is a dirtyLog "$EXPECTED_LOG"
step "host a dies, b goes on" takes_over a b
step "daemon on a again" daemon_again a
step "protection of b by a" protect b a
step "host b dies, a goes on" takes_over b a
