#!/usr/bin/env bash
# What must not go wrong, shown on a real guest: refusals are one sentence and leave the guest alone, a dead daemon is no dead guest,
# a switchover loses nothing, the moved guest is an ordinary domain, an orderly end is no failure, a full disk only degrades.
# Prints "ok NAME" or "not ok NAME: what was seen" for each case and "N passed, M failed" at the end.
set -euo pipefail
work=$(mktemp -d /tmp/us-cases.XXXX)
domain=proof
# shellcheck source=bed.sh
. "$(dirname "$0")/bed.sh"
passed=0 failed=0
only=${1:-} # an expression for the names of cases; each needs the guest where the one before left it

finish() {
  rc=$?
  trap - EXIT
  if [ "$failed" -gt 0 ] || [ $rc -ne 0 ]; then
    for host in a b; do
      say "--- the daemon on $host"
      tail -n "${CASES_LOG_LINES:-40}" "$work/$host.log" 2>/dev/null || true
    done
  fi
  bed_down || rc=1
  [ $rc -eq 0 ] || [ "$failed" -gt 0 ] || say "the cases stopped early"
  say "$passed passed, $failed failed"
  [ "$failed" -eq 0 ] || rc=1
  exit $rc
}
trap finish EXIT
trap 'exit 130' INT TERM

# A case is a function that ends with 0, or says on its last line what it saw.
check() { # name, command...
  local name=$1 seen rc
  shift
  [[ $name =~ $only ]] || return 0
  set +e
  seen=$(
    set -e
    "$@" 2>&1
  )
  rc=$?
  set -e
  if [ $rc -eq 0 ]; then
    passed=$((passed + 1))
    say "ok  $name${seen:+ ($(tail -n 1 <<<"$seen"))}"
  else
    failed=$((failed + 1))
    say "not ok  $name: $(tail -n 1 <<<"$seen")"
  fi
}

# Whether a command ended with 1 and one sentence, which is printed without its prefix.
one_sentence() { # prefix, pattern, command...
  local prefix=$1 pattern=$2 rc=0 lines
  shift 2
  "$@" >"$work/out" 2>"$work/err" </dev/null || rc=$?
  lines=$(wc -l <"$work/err")
  [ "$rc" = 1 ] || fail "exit code $rc, expected 1; stderr: $(head -c 600 "$work/err"); stdout: $(tail -n 1 "$work/out")"
  [ "$lines" = 1 ] || fail "$lines lines on stderr, expected 1: $(head -c 600 "$work/err" | tr '\n' '|')"
  grep -q "^$prefix" "$work/err" || fail "stderr does not begin with \"$prefix\": $(cat "$work/err")"
  grep -Eq "$pattern" "$work/err" || fail "the sentence has no \"$pattern\": $(cat "$work/err")"
  sed "s/^$prefix//" "$work/err"
}

pid_of() { cat "$work/$1/run/libvirt/qemu/$2.pid" 2>/dev/null || true; }
state_on() { virsh_on "$1" domstate "${2:-$domain}" 2>/dev/null || echo none; }
runs_as() { # host, domain, pid
  [ -n "$3" ] && [ "$(pid_of "$1" "$2")" = "$3" ] && [ -d "/proc/$3" ] || fail "QEMU of $2 on $1 is \"$(pid_of "$1" "$2")\", was $3"
  [ "$(state_on "$1" "$2")" = running ] || fail "domain $2 is $(state_on "$1" "$2") on $1, expected running"
}
runs() { [ "$(state_on "$1")" = running ]; }
off() { case $(state_on "$1") in "shut off" | none) ;; *) return 1 ;; esac; }
live_pid() {
  local pid
  pid=$(pid_of "$1" "$domain")
  [ -z "$pid" ] || [ ! -d "/proc/$pid" ] || echo "$pid"
}

refused() { # pattern, words for understudy on host a...
  local pattern=$1 pid
  shift
  pid=$(pid_of a $domain)
  one_sentence "error: " "$pattern" us a "$@"
  runs_as a $domain "$pid"
}

# The same with a second, tiny domain that has something in it that the proof guest has not.
refused_tiny() { # pattern, XML of devices, [emulator], [XML beside devices]
  local pid
  cat >"$work/tiny.xml" <<XML
<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>tiny</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os>
  <devices><emulator>${3:-/usr/bin/qemu-system-x86_64}</emulator><controller type='usb' model='none'/>$2</devices>${4:-}
</domain>
XML
  virsh_on a create "$work/tiny.xml" >/dev/null
  pid=$(pid_of a tiny)
  # shellcheck disable=SC2086 # options are words
  if (refused "$1" protect tiny --standby b ${tiny_options-} && runs_as a tiny "$pid") >"$work/tiny.out" 2>&1; then rc=0; else rc=1; fi
  virsh_on a destroy tiny >/dev/null
  virsh_on b destroy tiny >/dev/null 2>&1 && rc=1 && echo "host b has a standby of the refused domain" >>"$work/tiny.out"
  sed "/^$/d" "$work/tiny.out"
  return $rc
}

other_key() {
  sed "s|$work/a-us|$work/c-us|" "$work/a.conf" >"$work/c.conf"
  on a "$bin/understudy" --config "$work/c.conf" identity | sed -n 's/.*\(\(ssh-\|ecdsa-\)[a-z0-9-]* [A-Za-z0-9+\/=]*\).*/\1/p' | head -n 1
}
wrong_key() {
  us a untrust b >/dev/null
  us a trust b 10.77.0.2:16520 --key "$(other_key)" >/dev/null
  local rc=0
  (refused 'key' protect $domain --standby b) || rc=1
  us a untrust b >/dev/null
  trust a b 10.77.0.2
  return $rc
}

daemon_kill() { # host
  local pid
  pid=$(daemon_pid "$1")
  kill -9 "$pid"
  await 10 "the end of the daemon on $1" gone "$pid"
}
gone() { [ ! -d "/proc/$1" ]; }
without_daemon() {
  daemon_kill b
  local rc=0
  (refused 'host b|10.77.0.2' protect $domain --standby b) || rc=1
  daemon_up b
  return $rc
}
without_room() {
  local tiers=$work/b-us/state/tiers rc=0
  mkdir -p "$tiers"
  on b mount -t tmpfs -o size=16m none "$tiers"
  (refused '16 MiB free' protect $domain --standby b) || rc=1
  on b umount "$tiers"
  return $rc
}
wrong_config() {
  sed 's/^interval-ms = .*/interval-ms = soon/' "$work/a.conf" >"$work/wrong.conf"
  one_sentence "understudyd: " "$work/wrong.conf: protect.interval-ms is 'soon', expected" \
    on a "$bin/understudyd" --config "$work/wrong.conf"
}

protect() { # from, to
  us "$1" protect $domain --standby "$2" --fast 25% >"$work/out" 2>"$work/err" || fail "protect: $(cat "$work/err")"
  await 60 "protection on $1" is "$1" state PROTECTED
  qemu_pid "$1" >"$work/$1.qemu"
}
epoch_beyond() { [ "$(field "$1" epoch || echo 0)" -gt "$2" ] 2>/dev/null; }
# Since the last start only: a guest that powers off loses its disk before its programs.
sound() { # host
  local seen
  seen=$(serial "$1" | tail -c "+$(cat "$work/$1.from" 2>/dev/null || echo 1)" | grep -aE 'FAILED|Kernel panic' | head -n 1 || true)
  [ -z "$seen" ] || fail "the guest's proof is broken: $seen"
}
protects() {
  local pid
  pid=$(qemu_pid a)
  protect a b
  await 30 "five epochs" epoch_beyond a 5
  runs_as a $domain "$pid"
  [ "$(state_on b)" = paused ] || fail "the standby is $(state_on b), expected paused"
  sound a
}

daemon_killed() {
  local pid count epoch
  pid=$(qemu_pid a)
  epoch=$(field a epoch)
  daemon_kill a
  count=$(last_count a)
  await 15 "b to notice it" is b state DEGRADED
  say "$(field b reason)" >"$work/degraded"
  await 30 "the guest going on" counts_beyond a "$((count + 10))"
  sleep 3
  is b state DEGRADED || fail "host b is $(field b state) with the daemon of a dead and the guest alive"
  [ "$(state_on b)" = paused ] || fail "the standby is $(state_on b)"
  runs_as a $domain "$pid"
  daemon_up a
  await 60 "protection after the restart" is a state PROTECTED
  await 30 "a new epoch" epoch_beyond a "$epoch"
  await 10 "b following" is b state FOLLOWING
  runs_as a $domain "$pid"
  sound a
  cat "$work/degraded"
}

rising() { # all counters printed, first on one host, then on the other
  { serial "$1"; serial "$2"; } | tr -d '\r' | sed -n 's/^proof \([0-9]*\) ok.*/\1/p' |
    awk '$1 < last { print "from " last " back to " $1; exit 1 } { last = $1 }'
}
switches_over() {
  local before back downtime
  before=$(last_count a)
  us a switchover $domain >"$work/out" 2>"$work/err" || fail "switchover: $(cat "$work/err")"
  downtime=$(sed -n 's/^downtime  *//p' "$work/out")
  await 30 "the guest counting on b" counts_beyond b "$before"
  off a || fail "domain is $(state_on a) on a"
  runs b || fail "domain is $(state_on b) on b"
  back=$(rising a b) || fail "the counter went $back"
  sound b
  [ -n "$downtime" ] || fail "no downtime in: $(tr '\n' '|' <"$work/out")"
  qemu_pid b >"$work/b.qemu"
  say "downtime $downtime, a printed up to $before, b from $(serial b | tr -d '\r' | sed -n 's/^proof \([0-9]*\) ok.*/\1/p' | head -n 1)"
}

readies() { serial "$1" | grep -ac ' ready' || true; }
ready_again() { [ "$(readies "$1")" -gt "$2" ]; }
shut_down() { # host; the guest may miss a power button that is pressed while it starts
  sound "$1"
  virsh_on "$1" shutdown $domain >/dev/null
  await 40 "the guest's shutdown on $1" off "$1"
}
starts() { # host
  local before
  before=$(readies "$1")
  serial "$1" | wc -c >"$work/$1.from"
  virsh_on "$1" start $domain >/dev/null
  qemu_pid "$1" >"$work/$1.qemu"
  await 90 "the guest's proof on $1" ready_again "$1" "$before"
}
ordinary_life() {
  shut_down b
  starts b
  ! tr '\0' ' ' <"/proc/$(qemu_pid b)/cmdline" | grep -q -- '-incoming' || fail "QEMU was started with -incoming"
  sound b
}
protects_back() {
  protect b a
  [ "$(state_on a)" = paused ] || fail "the standby is $(state_on a), expected paused"
  us b unprotect $domain >"$work/out" 2>"$work/err" || fail "unprotect: $(cat "$work/err")"
  await 10 "the end of the standby on a" off a
  runs b || fail "domain is $(state_on b) on b"
}
migrates() {
  local before
  before=$(last_count b)
  serial a >"$work/a.serial.before"
  virsh_on b migrate --live $domain qemu+tcp://10.77.0.1/system >"$work/out" 2>"$work/err" || fail "$(cat "$work/err")"
  qemu_pid a >"$work/a.qemu"
  runs a || fail "domain is $(state_on a) on a"
  off b || fail "domain is $(state_on b) on b"
  await 30 "the guest counting on a" printed_since a "$work/a.serial.before" "$before"
  sound a
}
# Its arguments are still those of a standby, a monitor of ours among them, and go with it.
migrates_there_and_back() {
  local before
  tr '\0' ' ' <"/proc/$(qemu_pid b)/cmdline" | grep -q understudy-recovery || fail "QEMU has no monitor of ours"
  before=$(last_count b)
  virsh_on b migrate --live $domain qemu+tcp://10.77.0.1/system 2>"$work/err" || fail "$(cat "$work/err")"
  runs a || fail "domain is $(state_on a) on a"
  virsh_on a migrate --live $domain qemu+tcp://10.77.0.2/system 2>"$work/err" || fail "$(cat "$work/err")"
  runs b || fail "domain is $(state_on b) on b"
  await 30 "the guest counting on b" counts_beyond b "$before"
  qemu_pid b >"$work/b.qemu"
  sound b
}
printed_since() { # host, what the serial port had printed, count
  local last
  last=$(serial "$1" | tail -c "+$(($(stat -c %s "$2") + 1))" | tr -d '\r' | sed -n 's/^proof \([0-9]*\) ok.*/\1/p' | tail -n 1)
  [ "${last:-0}" -gt "$3" ]
}

full_disk() {
  local tiers=$work/b-us/state/tiers pid count epoch
  # Whatever is seen here, the next case needs room.
  # shellcheck disable=SC2064
  trap "on b rm -f $tiers/filler $tiers/filler2" EXIT
  mkdir -p "$tiers"
  on b mount -t tmpfs -o size=400m none "$tiers"
  pid=$(qemu_pid a)
  protect a b
  on b dd if=/dev/zero of="$tiers/filler" bs=1M 2>/dev/null || true
  on b dd if=/dev/zero of="$tiers/filler2" bs=4k 2>/dev/null || true
  await 60 "degraded protection" is a state DEGRADED
  us a status $domain --json | sed -n 's/^ *"reason" : "\(.*\)",$/\1/p' | head -n 1 >"$work/reason"
  grep -qi 'space' "$work/reason" || fail "the reason says nothing of space: $(cat "$work/reason")"
  count=$(last_count a)
  await 30 "the guest going on" counts_beyond a "$((count + 5))"
  [ "$(state_on b)" = paused ] || fail "the standby is $(state_on b)"
  is a state DEGRADED || fail "a says $(field a state), though nothing can be stored on b"
  on b rm -f "$tiers/filler" "$tiers/filler2"
  await 60 "protection again" is a state PROTECTED
  epoch=$(field a epoch)
  await 30 "new epochs" epoch_beyond a "$((epoch + 2))"
  runs_as a $domain "$pid"
  sound a
  cat "$work/reason"
}

nothing_stands_by() {
  ! us b status $domain --json 2>/dev/null | grep -q '"role" : "standby"' && off b
}
ends_in_order() { # virsh verb
  local standby before
  standby=$(qemu_pid b)
  before=$(takeovers b)
  [ -d "/proc/$standby" ] || fail "there is no standby QEMU on b (\"$standby\")"
  virsh_on a "$1" $domain >/dev/null
  await 40 "the end of the guest" off a
  await 15 "the end of the standby, which is $(field b state): $(field b reason)" nothing_stands_by
  gone "$standby" || fail "the standby QEMU $standby still runs"
  case $(field a state) in "" | ENDED) ;; *) fail "a says $(field a state): $(field a reason)" ;; esac
  [ "$(takeovers b)" = "$before" ] || fail "host b fenced or took over: $(us b events | grep -E 'FENC|PROMOTING' | tail -n 1)"
}
takeovers() { us "$1" events | grep -cE 'FENC|PROMOTING' || true; }
shutdown_ends() { ends_in_order shutdown; }
destroy_ends() {
  starts a
  protect a b
  ends_in_order destroy
}

# A daemon that outlives its guest goes on asking its standby host; that must not begin the failover there anew.
slow_fence() {
  local before
  starts a
  protect a b
  write_fence b a slow
  us b events | grep -c 'FENCING' >"$work/fencings" || true
  before=$(last_count a)
  kill -9 "$(qemu_pid a)"
  await 40 "the guest on b, which is $(field b state): $(field b reason)" counts_beyond_now b "$before"
  write_fence b a works
  [ "$(us b events | grep -c 'FENCING')" = "$(($(cat "$work/fencings") + 1))" ] || fail "it was fenced more than once: $(us b events | grep FENCING | tail -n 3 | tr '\n' '|')"
  sound b
}
counts_beyond_now() { [ "$(serial "$1" | tail -c 2000 | tr -d '\r' | sed -n 's/^proof \([0-9]*\) ok.*/\1/p' | tail -n 1)" -gt "$2" ] 2>/dev/null; }

bed_up
guest_up proof 192 proof.size=32
await 120 "the proof in the guest" ready a
mkdir -p "$work/share"
truncate -s 1M "$work/tiny.raw"
ln -s /usr/bin/qemu-system-x86_64 "$work/a/lib/qemu-of-a"

check "unknown domain" refused 'nobody' protect nobody --standby b
check "unprotect of an unprotected domain" refused "$domain is not protected" unprotect $domain
check "failover of a domain without a standby here" refused "no standby here" failover $domain
check "standby host that is not trusted" refused 'host-x|trust' protect $domain --standby host-x
check "configuration with a wrong value" wrong_config
check "writable disk" refused_tiny 'writable disk vda' \
  "<disk type='file' device='disk'><source file='$work/tiny.raw'/><target dev='vda' bus='virtio'/></disk>"
check "folder of the host" refused_tiny 'shares folder' \
  "<filesystem type='mount'><source dir='$work/share'/><target dir='share'/></filesystem>"
check "migration blocker of QEMU" refused_tiny 'cannot be migrated.*usb-wacom' '' '' \
  "<qemu:commandline><qemu:arg value='-device'/><qemu:arg value='qemu-xhci,id=x0,bus=pcie.0,addr=0x1e'/>
   <qemu:arg value='-device'/><qemu:arg value='usb-wacom-tablet,bus=x0.0'/></qemu:commandline>"
tiny_options=--hold-output
check "held output of an interface with two queues" refused_tiny 'net0 .* cannot be held: it has several queues' \
  "<interface type='bridge'><source bridge='br0'/><model type='virtio'/><driver name='qemu' queues='2'/></interface>"
check "held output without an interface" refused_tiny 'no network interface' ''
tiny_options=
check "QEMU that the standby host has not" refused_tiny 'has no emulator' '' /var/lib/libvirt/qemu-of-a
check "standby host with another key" wrong_key
check "standby host without room" without_room
check "standby host without a daemon" without_daemon
check "protection" protects
check "second protection" refused 'protected already' protect $domain --standby b
check "daemon killed, guest alive" daemon_killed
check "switchover" switches_over
check "live migration of a guest that was promoted, there and back" migrates_there_and_back
check "the moved domain is an ordinary one" ordinary_life
check "protection in the other direction, and its end" protects_back
check "live migration of it" migrates
check "full disk in a tier" full_disk
check "shutdown ends protection" shutdown_ends
check "destroy ends protection" destroy_ends
check "a slow fence, and the daemon of the dead guest alive" slow_fence
