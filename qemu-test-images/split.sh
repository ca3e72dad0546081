#!/usr/bin/env bash
# A split link with both hosts alive, and worse: seeded schedules of cuts, slow cables, restarts and deaths, on two hosts.
#   split.sh --schedules N [--seed S]
# An observer outside both hosts looks 20 times a second whether the guest's vCPUs ran on both: never. After each schedule everything is
# mended and the guest has to be protected again, its proof unbroken. Each one appends a line to .cache/split.tsv; those of the seed that
# are there are not repeated. Before the first, the observer has to see two where an operator forces two.
set -euo pipefail
work=$(mktemp -d /tmp/us-split.XXXX)
domain=proof interval_ms=300 start_unheard=refuse guard_net=10.78.0
# shellcheck source=bed.sh
. "$(dirname "$0")/bed.sh"
cache=$here/../.cache
table=$cache/split.tsv

schedules=100 seed=1
while [ $# -gt 0 ]; do
  case $1 in
  --schedules) schedules=${2:?--schedules N} ;;
  --seed) seed=${2:?--seed S} ;;
  *) fail "unknown option $1; usage: split.sh --schedules N [--seed S]" ;;
  esac
  shift 2
done

finish() {
  rc=$?
  trap - EXIT
  bed_down || rc=1
  exit $rc
}
trap finish EXIT
trap 'exit 130' INT TERM

# Draws that do not depend on anything but seed and number: the order of a schedule is the same whenever it runs.
draw() { drawn=$(($1 + (RANDOM * 32768 + RANDOM) % ($2 - $1 + 1))); }
nap_ms() { sleep "$(($1 / 1000)).$(printf %03d $(($1 % 1000)))"; }
other() { if [ "$1" = a ]; then echo b; else echo a; fi; }
try() { # seconds, what, command...: "await" that can be survived
  local deadline=$(($(date +%s) + $1)) what=$2
  shift 2
  until "$@"; do
    if [ "$(date +%s)" -ge "$deadline" ]; then
      why="waited in vain for $what"
      return 1
    fi
    sleep 0.3
  done
}
record() { sed -n "s/^ *\"$2\" : \"\{0,1\}\([^\",]*\)\"\{0,1\},\{0,1\}\$/\1/p" "$work/$1-us/state/domains/$uuid.json" 2>/dev/null; }
# From the file that libvirt keeps of a running domain: asking it takes four processes each time.
state_on() { sed -n "s/^<domstatus state='\([a-z ]*\)'.*/\1/p" "$work/$1/run/libvirt/qemu/$domain.xml" 2>/dev/null | grep . || echo "shut off"; }
# The last state that a daemon told, from its log: asking it takes a Java process each time.
last_state() { sed -n "s/.* EventLog: $domain: \([A-Z_]*\)\(:.*\)\?$/\1/p; s/.* EventLog: $domain: standby of host . is armed.*/FOLLOWING/p" "$work/$1.log" | tail -n 1; }
daemon_lives() { [ -n "$(daemon_pid "$1")" ]; }

# --- the observer

observe() {
  "$here/observer.pl" "$uuid" "$(cat "$work/a/anchor")" "$(cat "$work/b/anchor")" "$work/observed" &
  observer=$!
}
both_seen() { grep -c ' BOTH ' "$work/observed" || true; }

# --- the bed

new_bed() {
  p=a s=b
  bed_up
  vcpus=1 guest_up proof 128 "proof.size=16 io.rate=20"
  uuid=$(virsh_on a domuuid $domain | head -n 1)
  await 120 "the proof in the guest" ready a
  observe
  protect
  try 60 "protection" is_protected || fail "a fresh guest could not be protected: $why"
}
old_bed() {
  kill "$observer" 2>/dev/null || true
  wait "$observer" 2>/dev/null || true
  bed_down
  mkdir -p "$work"
}
protect() {
  us "$p" protect $domain --standby "$s" --fast 50% >"$work/protect.out" 2>&1 ||
    grep -q 'is protected already' "$work/protect.out" || { why="protect: $(tail -n 1 "$work/protect.out")"; return 1; }
}
is_protected() { [ "$(record "$p" role)" = primary ] && [ "$(last_state "$p")" = PROTECTED ] && [ "$(last_state "$s")" = FOLLOWING ]; }

# --- what may happen in a schedule

cable() { # link|second, what...
  "$here/two-hosts.sh" "$1" "$work" "${@:2}"
}
restart_daemon() { # host
  local pid
  pid=$(daemon_pid "$1")
  [ -z "$pid" ] || kill -9 "$pid"
  on "$1" setsid "$bin/understudyd" --config "$work/$1.conf" >>"$work/$1.log" 2>&1 </dev/null &
}
stall_daemon() { # host, ms
  local pid
  pid=$(daemon_pid "$1")
  [ -n "$pid" ] || return 0
  kill -STOP "$pid"
  (nap_ms "$2" && kill -CONT "$pid") 2>/dev/null &
}
restart_libvirtd() { # host
  kill -9 "$(cat "$work/$1/libvirtd.pid")" 2>/dev/null || true
  on "$1" setsid libvirtd --listen >>"$work/$1/host.log" 2>&1 </dev/null &
  local tries=0
  until pgrep -F "$work/$1/run/libvirtd.pid" >/dev/null 2>&1 || [ $tries -ge 40 ]; do sleep 0.05; tries=$((tries + 1)); done
  cat "$work/$1/run/libvirtd.pid" >"$work/$1/libvirtd.pid" 2>/dev/null || true
}
kill_guest() {
  local pid
  pid=$(qemu_pid "$p")
  [ -z "$pid" ] || kill -9 "$pid" 2>/dev/null || true
}
somebody_starts_it() { # host
  timeout 10 "$here/two-hosts.sh" exec "$work" "$1" virsh -q -c qemu:///system start $domain >>"$work/starts" 2>&1 </dev/null &
}

act() { # draws one action, and does it
  local what
  draw 1 100
  what=$drawn
  draw 1 3000
  if ((what <= 17)); then
    action=link-down && cable link down
  elif ((what <= 30)); then
    action=second-down && cable second down
  elif ((what <= 46)); then
    action=both-down && cable link down && cable second down
  elif ((what <= 51)); then
    action=link-up && cable link up
  elif ((what <= 54)); then
    action=second-up && cable second up
  elif ((what <= 59)); then
    action=both-up && cable link up && cable second up
  elif ((what <= 63)); then
    action=link-rate-$((1 + drawn / 600)) && cable link rate $((1 + drawn / 600))
  elif ((what <= 68)); then
    action=daemon-$p && restart_daemon "$p"
  elif ((what <= 73)); then
    action=daemon-$s && restart_daemon "$s"
  elif ((what <= 77)); then
    action=stall-$p-$drawn && stall_daemon "$p" "$drawn"
  elif ((what <= 80)); then
    action=stall-$s-$drawn && stall_daemon "$s" "$drawn"
  elif ((what <= 82)); then
    action=libvirtd-$p && restart_libvirtd "$p"
  elif ((what <= 84)); then
    action=libvirtd-$s && restart_libvirtd "$s"
  elif ((what <= 89)); then
    action=guest-dies && kill_guest
  else
    action=start-$p && somebody_starts_it "$p"
  fi
}

schedule() { # number: does it; "actions" says what was done
  local steps i at
  RANDOM=$(((seed * 1009 + $1 * 7919) % 32768))
  draw 0 1
  fence=$([ "$drawn" = 0 ] && echo works || echo unreachable)
  for host in a b; do write_fence $host "$(other $host)" "$([ $fence = works ] && echo works || echo broken)"; done
  draw 3 7
  steps=$drawn actions=$fence
  for ((i = 0; i < steps; i++)); do
    draw 50 2200
    at=$drawn
    nap_ms "$at"
    act
    actions="$actions $at:$action"
  done
  draw 500 4000
  nap_ms "$drawn"
  actions="$actions $drawn:end"
}

# --- and afterwards

runs_on() { # the vCPUs ran on that host when they last changed their mind
  [ "$(state_on "$1")" = running ]
}
said_bytes() { serial "$1" | wc -c; }
counts_since() { serial "$1" | tail -c +$(($2 + 1)) | tr -d '\r' | grep -q '^proof [0-9]* ok'; }
sound() { # host
  why=$(serial "$1" | tail -c +$(($2 + 1)) | grep -aE 'FAILED|Kernel panic' | head -n 1 || true)
  [ -z "$why" ]
}
settled() { # one look; takes a step where a person would
  if is_protected && runs_on "$p"; then return 0; fi
  if [ "$(record "$s" role)" = owner ] && runs_on "$s"; then
    outcome=taken-over
    [ "$(record "$p" role)" = former ] || return 1
    p=$s s=$(other "$p")
    protect || return 1
  elif [ "$(record "$p" role)" = owner ] && runs_on "$p"; then
    outcome=protected-anew
    protect || return 1
  elif ! runs_on "$p" && ! runs_on "$s"; then
    case "$(last_state "$s")" in
    FENCING | PROMOTING) return 1 ;;
    esac
    [ $(($(date +%s) - mended)) -ge 12 ] || return 1 # it may still decide by itself
    outcome=forced
    us "$s" failover $domain --force >"$work/failover.out" 2>&1 || { why="forced: $(tail -n 1 "$work/failover.out")"; return 1; }
  fi
  return 1
}
mend() {
  local bytes
  for each in link second; do cable $each up; done
  cable link rate 0
  for host in a b; do
    write_fence $host "$(other $host)" works
    pid=$(daemon_pid $host)
    [ -z "$pid" ] || kill -CONT "$pid"
    daemon_lives $host || (daemon_up $host) || { why="the daemon on $host does not start"; return 1; }
  done
  mended=$(date +%s)
  try 120 "protection: $p is $(record "$p" role) $(last_state "$p") $(state_on "$p"), $s is $(record "$s" role) $(last_state "$s") $(state_on "$s")" \
    settled || return 1
  bytes=$(said_bytes "$p")
  try 60 "the guest counting on $p" counts_since "$p" "$bytes" || return 1
  sound "$p" "$from" || return 1
  [ "$(record a generation) $(record a owner)" = "$(record b generation) $(record b owner)" ] ||
    { why="a knows generation $(record a generation) of $(record a owner), b $(record b generation) of $(record b owner)"; return 1; }
}
keep_logs() { # name
  local to
  to=$cache/split-failures/$(date +%Y%m%d-%H%M%S)-seed$seed-$1
  mkdir -p "$to"
  for host in a b; do
    cp "$work/$host.log" "$to/$host.daemon.log" 2>/dev/null || true
    serial $host >"$to/$host.serial.log"
    cp "$work/$host-us/state/domains/"*.json "$to/$host.json" 2>/dev/null || true
    cp "$work/$host-us/state/hook.log" "$to/$host.hook.log" 2>/dev/null || true
  done
  cp "$work/observed" "$work/starts" "$to/" 2>/dev/null || true
  say "split: logs are in $to"
}

one() { # number
  local began result=ok before
  began=$(date +%s) why='' outcome=stays actions=''
  before=$(both_seen)
  from=$(said_bytes "$p") was=$p
  schedule "$1"
  mend || result="FAIL: ${why:-unknown}"
  [ "$(both_seen)" = "$before" ] || result="FAIL: it ran on both: $(grep ' BOTH ' "$work/observed" | tail -n 1)"
  kill -0 "$observer" 2>/dev/null || result="FAIL: the observer ended"
  printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$(date +%Y-%m-%dT%H:%M:%S)" "$seed" "$1" "$was>$p" "$outcome" \
    "$(record "$p" generation)" $(($(date +%s) - began)) "$result" "$actions" >>"$table"
  printf '%4s %s>%s %-14s generation %3s, %3s s, %s (%s)\n' "$1" "$was" "$p" "$outcome" "$(record "$p" generation)" \
    $(($(date +%s) - began)) "$result" "$actions"
  [ "$result" = ok ]
}

# An operator forces the standby to run while the primary runs: two, for a moment. The observer has to see it, and the older one has to
# stop as soon as the hosts hear each other.
observer_sees_two() {
  for each in link second; do cable $each down; done
  write_fence b a broken
  try 20 "the end of the fence" eval '[ "$(last_state b)" = FENCE_FAILED ]' || return 1
  us b failover $domain --force >/dev/null || { why="the forced failover"; return 1; }
  sleep 1
  [ "$(both_seen)" -gt 0 ] || { why="two run and the observer did not see it"; return 1; }
  for each in link second; do cable $each up; done
  try 30 "the older one's end" eval '[ "$(record a role)" = former ] && [ "$(state_on a)" = paused ]' || return 1
  virsh_on a destroy $domain >/dev/null
  write_fence b a works
  p=b s=a
  protect && try 60 "protection" is_protected
}

mkdir -p "$cache"
[ -s "$table" ] || printf 'time\tseed\tschedule\tdirection\toutcome\tgeneration\tseconds\tresult\tactions\n' >"$table"
done_already() { awk -F'\t' -v s="$seed" -v n="$1" '$2 == s && $3 == n && $8 == "ok" { found = 1 } END { exit !found }' "$table"; }

say "== $schedules schedules with seed $seed"
started=$(date +%s) failures=0 ran=0 fresh=1
for ((number = 1; number <= schedules; number++)); do
  if done_already "$number"; then continue; fi
  if [ $fresh = 1 ]; then
    new_bed
    fresh=0
    if [ $ran = 0 ]; then
      observer_sees_two || { keep_logs observer; fail "$why"; }
      say "the observer sees two where there are two: $(grep ' BOTH ' "$work/observed" | tail -n 1)"
      grep -v ' BOTH ' "$work/observed" >"$work/observed.before" || true
    fi
  fi
  ran=$((ran + 1))
  if ! one "$number"; then
    failures=$((failures + 1)) fresh=1
    keep_logs "$number"
    old_bed
  fi
done
[ $fresh = 1 ] || { kill "$observer" && wait "$observer"; tail -n 1 "$work/observed" | cut -d ' ' -f 2-; }
say "== $ran schedules run, $failures failures, $((schedules - ran)) were done already, seed $seed, $(($(date +%s) - started)) s"
awk -F'\t' -v s="$seed" '$2 == s && $8 == "ok" { n[$5]++; all++ } END { for (k in n) printf "%-15s %d\n", k, n[k]; print all, "schedules of this seed are done" }' "$table"
[ $failures = 0 ]
