#!/usr/bin/env bash
# What happens if a process of ours, libvirtd or the SSH connection dies, stops or stalls at a named step:
#   faults.sh [--only EXPRESSION] [--minutes N] [--again] [--list]
# A cell is POINT HOW VICTIM: a point of org.understudy.fault.FaultPoint, kill | stop | stall (a stop of 5 s), and who it hits. After each the guest has
# to run on unharmed where it was (in a promotion: to run on the standby's host from the committed epoch on, never back), nothing may have been fenced or
# promoted because of us, and the guest has to be protected again. Finished cells are lines of .cache/faults.tsv; those that are "ok" there are not
# done again, unless --again is given. After --minutes no other cell is begun.
set -euo pipefail
work=$(mktemp -d /tmp/us-faults.XXXX)
domain=proof
memory_mib=${FAULTS_MEMORY_MIB:-160}
interval_ms=500
# shellcheck source=bed.sh
. "$(dirname "$0")/bed.sh"
# shellcheck source=moves.sh
. "$here/moves.sh"
cache=$here/../.cache
table=${FAULTS_TABLE:-$cache/faults.tsv}
# The deadline of a pause is 500 ms; the rest is what this guest's serial port, ten lines a second, and a machine full of QEMUs under TCG may take.
longest_ms=${FAULTS_LONGEST_MS:-3000}
stop_s=8 # how long somebody stays stopped until the service manager or a person comes

only=. again=0 list=0 minutes=100000
while [ $# -gt 0 ]; do
  case $1 in
  --only) only=${2:?--only EXPRESSION} && shift ;;
  --minutes) minutes=${2:?--minutes N} && shift ;;
  --again) again=1 ;;
  --list) list=1 ;;
  *) fail "unknown option $1; usage: faults.sh [--only EXPRESSION] [--minutes N] [--again] [--list]" ;;
  esac
  shift
done

cells() {
  local point how victim
  for how in kill stop stall; do
    for point in PAUSE_ANNOUNCED PAUSE_COMMANDED GUEST_STOPPED PAGES_COPIED GUEST_WENT_ON EPOCH_SENT \
      GUEST_SURVEYED GUARD_ATTACHED INJECTOR_STARTED LOG_ARMED LINK_CONNECTED STANDBY_PREPARED; do
      for victim in daemon guard ssh libvirtd; do echo "$point $how $victim"; done
    done
    echo "INJECTOR_STARTED $how injector"
    for point in GUARD_TOLD_OF_PAUSE GUARD_TOLD_OF_STOP GUARD_TOLD_OF_END; do echo "$point $how guard"; done
    for point in EPOCH_BEGUN EPOCH_WRITTEN EPOCH_DURABLE INDEX_SAVING STANDBY_STARTED STANDBY_ARMED; do
      for victim in daemon ssh libvirtd; do echo "$point $how $victim"; done
    done
    for point in FENCED GENERATION_DURABLE PACKAGE_READY PACKAGE_WRITTEN DEVICES_LOADED FIRST_PAGES_SENT LAST_PAGES_SENT GUEST_WHOLE; do
      for victim in daemon libvirtd; do echo "$point $how $victim"; done
    done
  done
}
# Whose step it is.
group_of() {
  case $1 in
  GUEST_SURVEYED | GUARD_ATTACHED | INJECTOR_STARTED | LOG_ARMED | LINK_CONNECTED | STANDBY_PREPARED) echo attach ;;
  PAUSE_* | GUEST_STOPPED | PAGES_COPIED | GUEST_WENT_ON | EPOCH_SENT | GUARD_TOLD_*) echo capture ;;
  EPOCH_* | INDEX_*) echo follow ;;
  STANDBY_*) echo arm ;;
  *) echo promote ;;
  esac
}
if [ $list = 1 ]; then
  rmdir "$work"
  cells | grep -E "$only"
  exit 0
fi

finish() {
  rc=$?
  trap - EXIT
  watch_end
  bed_down || rc=1
  exit $rc
}
trap finish EXIT
trap 'exit 130' INT TERM

# --- processes

relay_pid() { pgrep -f "org.understudy.testbed.TcpRelay 10.77.0.2" | while read -r pid; do if in_host b "$pid"; then echo "$pid"; fi; done | head -n 1; }
relay_up() {
  on b setsid java -Xmx64m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$here/target/classes" org.understudy.testbed.TcpRelay \
    10.77.0.2 17520 10.77.0.2 16520 >>"$work/relay.log" 2>&1 </dev/null &
  await 20 "the relay" relay_pid_there
}
relay_pid_there() { [ -n "$(relay_pid)" ]; }

# The SSH connection from a to b goes through a process of its own, which can be hit as the others.
trust_through_relay() {
  local key
  key=$(us b identity | sed -n 's/.*\(\(ssh-\|ecdsa-\)[a-z0-9-]* [A-Za-z0-9+\/=]*\).*/\1/p' | head -n 1)
  us a untrust b >/dev/null
  us a trust b 10.77.0.2:17520 --key "$key" >/dev/null
}

fresh_bed() {
  watch_end
  bed_down
  mkdir -p "$work"
  new_bed || return 1
  relay_up && trust_through_relay || return 1
  protect && protected_again || return 1
  watch_serial
}

# --- the longest time without a line of the guest's

watcher=
watch_end() {
  # The pipeline's processes first: they would outlive their shell.
  # shellcheck disable=SC2046 # one word each
  [ -z "$watcher" ] || kill $(pgrep -P "$watcher") "$watcher" 2>/dev/null || true
  watcher=
}
watch_serial() { # writes the longest gap, in ms, to $work/gap
  rm -f "$work/gap"
  (
    longest=0 last=${EPOCHREALTIME/./}
    tail -n 0 -f "$work/a/lib/serial/$domain.log" | while read -r _; do
      now=${EPOCHREALTIME/./}
      if [ -e "$work/gap.new" ]; then
        rm -f "$work/gap.new"
        longest=0
      elif [ $((now - last)) -gt $longest ]; then
        longest=$((now - last))
        echo $((longest / 1000)) >"$work/gap"
      fi
      last=$now
    done
  ) &
  watcher=$!
}
gap_ms() { cat "$work/gap" 2>/dev/null || echo 0; }
gap_anew() {
  rm -f "$work/gap"
  touch "$work/gap.new"
}

# --- one cell

# Kills what is stopped and nobody but a watchdog would end, or wakes it; starts what a service manager starts.
aftermath() { # host, how, victim, its process
  local host=$1 how=$2 victim=$3 pid=$4
  case $how in
  stall) return 0 ;;
  stop)
    sleep $stop_s
    case $victim in
    daemon) kill -9 "$pid" 2>/dev/null || true ;; # in a pause the guard has done it
    guard | injector) return 0 ;;
    *) kill -CONT "$pid" && return 0 ;;
    esac
    ;;
  esac
  case $victim in
  daemon)
    try 20 "the end of the daemon on $host" gone "$pid" || return 1
    (daemon_up "$host") || { why="the daemon on $host does not start"; return 1; }
    ;;
  libvirtd)
    try 20 "the end of libvirtd on $host" gone "$pid" || return 1
    libvirtd_up "$host"
    ;;
  ssh) relay_up ;;
  esac
}

takeovers() { grep -cE 'EventLog: .*(FENC|PROMOTING)' "$work/b.log" || true; }

victim_pid() { # host, victim
  case $2 in
  daemon) daemon_pid "$1" ;;
  guard) guard_pid a ;;
  ssh) relay_pid ;;
  libvirtd) libvirtd_pid "$1" ;;
  injector) echo children ;;
  esac
}

lives_on() { # point, how, victim, group: the guest on a, followed on b
  local point=$1 how=$2 victim=$3 group=$4 host=a pid qemu before bytes
  case $group in follow | arm) host=b ;; esac
  qemu=$(qemu_pid a) before=$(takeovers) bytes=$(said_bytes a)
  gap_anew
  pid=$(victim_pid $host "$victim")
  [ -n "$pid" ] || { why="no process of $victim on $host"; return 1; }
  case $group in
  attach)
    local old
    old=$(daemon_pid a)
    kill -9 "$old"
    if [ "$victim" = daemon ]; then plan a "$point" "$how" self; else plan a "$point" "$how" "$pid"; fi
    try 20 "the end of daemon $old" gone "$old" || return 1
    daemon_start a
    ;;
  arm)
    plan b "$point" "$how" "$pid"
    kill -9 "$(qemu_pid b)"
    ;;
  *) plan $host "$point" "$how" "$pid" ;;
  esac
  try 60 "step $point" struck $host || { rm -f "$work/$host.faults"; return 1; }
  if [ "$group/$victim" = attach/daemon ]; then pid=$(daemon_pid a); fi
  if [ -n "$pid" ] || [ "$how" = kill ]; then aftermath $host "$how" "$victim" "${pid:-999999999}" || return 1; fi
  protected_again || return 1
  if [ "$(qemu_pid a)" != "$qemu" ] || gone "$qemu"; then
    why="QEMU $qemu of the guest ended"
    return 1
  fi
  [ "$(takeovers)" = "$before" ] || { why="host b acted: $(grep -E 'EventLog: .*(FENC|PROMOTING)' "$work/b.log" | tail -n 1)"; return 1; }
  proves a "$bytes" && runs_only_on a || return 1
  gap=$(gap_ms)
  [ "$gap" -le "$longest_ms" ] || { why="the guest was silent for $gap ms"; return 1; }
}

promoted_on_b() { awk '/PROMOTING: /{whole=0} /RUNNING: /{whole=1} END{exit !whole}' "$work/b.log"; }

moves_on() { # point, how, victim: the guest's QEMU dies, b's daemon takes over and is hit
  local point=$1 how=$2 victim=$3 pid bytes q
  bytes=$(said_bytes b) q=$(qemu_pid b)
  pid=$(victim_pid b "$victim")
  plan b "$point" "$how" "$pid"
  kill -9 "$(qemu_pid a)" "$(daemon_pid a)"
  try 40 "step $point" struck b || return 1
  aftermath b "$how" "$victim" "$pid" || return 1
  try 90 "the guest's heartbeat on b" heartbeat_since b "$bytes" || return 1
  try 60 "the end of the promotion" promoted_on_b || return 1
  proves b "$bytes" && runs_only_on b || return 1
  rises b "$bytes" || return 1
  case $point/$victim/$how in
  DEVICES_LOADED/* | FIRST_PAGES_SENT/* | LAST_PAGES_SENT/* | GUEST_WHOLE/*)
    [ "$(qemu_pid b)" = "$q" ] || { why="the guest had run in QEMU $q and was begun again in $(qemu_pid b)"; return 1; }
    ;;
  esac
  gap=$(($(now_ms) - killed_ms))
  (daemon_up a) || { why="the daemon on a"; return 1; }
  p=b s=a
  protect && protected_again && runs_only_on b
}

keep_logs() { # name
  local to
  to=$cache/faults-failures/$(date +%Y%m%d-%H%M%S)-$1
  mkdir -p "$to"
  for host in a b; do
    cp "$work/$host.log" "$to/$host.daemon.log" 2>/dev/null || true
    serial $host | tail -c 200000 >"$to/$host.serial.log"
    us $host status --json >"$to/$host.status" 2>&1 || true
    us $host events >"$to/$host.events" 2>&1 || true
    cp "$work/$host"/log/qemu/*.log "$work/$host-us"/state/guards/*.log "$to/" 2>/dev/null || true
  done
  say "logs are in $to"
}

done_already() { [ $again = 0 ] && awk -F'\t' -v c="$*" '$2 " " $3 " " $4 == c && $6 == "ok" { found = 1 } END { exit !found }' "$table"; }

mkdir -p "$cache"
[ -s "$table" ] || printf 'time\tpoint\thow\tvictim\tms\tresult\n' >"$table"
mapfile -t todo < <(cells | grep -E "$only")
fresh=1 finished=0 failures=0 left=0 until=$(($(date +%s) + minutes * 60))
for cell in "${todo[@]}"; do
  read -r point how victim <<<"$cell"
  if done_already "$point" "$how" "$victim"; then
    left=$((left + 1))
    continue
  fi
  [ "$(date +%s)" -lt $until ] || break
  if [ $fresh = 1 ]; then
    fresh_bed || { keep_logs fresh; fail "a fresh guest could not be protected: $why"; }
    fresh=0
  fi
  group=$(group_of "$point") gap=- why='' killed_ms=$(now_ms) result=ok
  if [ "$group" = promote ]; then
    moves_on "$point" "$how" "$victim" || result="FAIL: ${why:-unknown}"
    fresh=1
  else
    lives_on "$point" "$how" "$victim" "$group" || result="FAIL: ${why:-unknown}"
  fi
  finished=$((finished + 1))
  printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$(date +%Y-%m-%dT%H:%M:%S)" "$point" "$how" "$victim" "$gap" "$result" >>"$table"
  printf '%-20s %-6s %-9s %6s ms, %3s s in all, %s\n' "$point" "$how" "$victim" "$gap" $((($(now_ms) - killed_ms) / 1000)) "$result"
  if [ "$result" != ok ]; then
    failures=$((failures + 1)) fresh=1
    keep_logs "$point-$how-$victim"
  fi
done
say "== $finished cells, $failures failures, $left done before, $(date +%H:%M:%S)"
[ $failures = 0 ]
