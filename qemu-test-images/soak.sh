#!/usr/bin/env bash
# One guest that proves itself lives through random kills by moving back and forth between two hosts:
#   soak.sh --kills N [--seed S] [--kinds "KIND ..."]
# After each kill either the other host resumes a committed epoch whose proof holds, or the guest goes on where it is. Each kill
# appends a line to .cache/soak.tsv; the logs of a failure are kept in .cache/soak-failures, and a new guest goes on.
set -euo pipefail
work=$(mktemp -d /tmp/us-soak.XXXX)
domain=proof
memory_mib=${SOAK_MEMORY_MIB:-192}
interval_ms=${SOAK_INTERVAL_MS:-300}
# shellcheck source=bed.sh
. "$(dirname "$0")/bed.sh"
cache=$here/../.cache
table=$cache/soak.tsv

all_kinds="host qemu daemon standby-daemon standby-qemu link qemu-and-standby-daemon promoting-daemon promoting-qemu"
kills= seed=$((RANDOM * 32768 + RANDOM)) kinds=$all_kinds
while [ $# -gt 0 ]; do
  case $1 in
  --kills) kills=${2:?--kills N} ;;
  --seed) seed=${2:?--seed S} ;;
  --kinds) kinds=${2:?--kinds of: $all_kinds} ;;
  *) fail "unknown option $1; usage: soak.sh --kills N [--seed S] [--kinds \"$all_kinds\"]" ;;
  esac
  shift 2
done
case $kills in '' | *[!0-9]*) fail "usage: soak.sh --kills N [--seed S]" ;; esac
read -ra kinds <<<"$kinds"
RANDOM=$((seed % 32768))

finish() {
  rc=$?
  trap - EXIT
  bed_down || rc=1
  exit $rc
}
trap finish EXIT
trap 'exit 130' INT TERM

draw() { drawn=$(($1 + (RANDOM * 32768 + RANDOM) % ($2 - $1 + 1))); }
nap_ms() { sleep "$(($1 / 1000)).$(printf %03d $(($1 % 1000)))"; }
other() { if [ "$1" = a ]; then echo b; else echo a; fi; }
alive() { kill -0 "$1" 2>/dev/null; }
gone() { ! alive "$1"; }
try() { why=$2 && (await "$@"); } # await that can be survived

# What a host's serial port has said beyond a number of bytes.
said() { serial "$1" | tail -c +$(($2 + 1)) | tr -d '\r'; }
said_bytes() { serial "$1" | wc -c; }
counted_since() { said "$1" "$2" | sed -n 's/^proof \([0-9]*\) ok [0-9.]* pass=.*/\1/p'; }
heartbeat_since() { [ -n "$(counted_since "$1" "$2" | head -n 1)" ]; }
pass_since() { said "$1" "$2" | sed -n 's/^proof .* pass=\([0-9]*\)$/\1/p' | "$3" -n 1; }

# The pass that a resume or a kill fell into, and two whole ones.
proved_since() { # host, bytes of its serial port before
  local first last
  first=$(pass_since "$1" "$2" head) last=$(pass_since "$1" "$2" tail)
  [ -n "$first" ] && [ "$last" -ge $((first + 3)) ]
}
proves() { # host, bytes
  try 60 "two passes of the proof on $1" proved_since "$1" "$2" || return 1
  why=$(said "$1" "$2" | grep -aE 'FAILED|Kernel panic' | head -n 1)
  [ -z "$why" ]
}

state_of() { virsh_on "$1" domstate "$domain" 2>/dev/null | head -n 1; }
# The guest runs on exactly this host, whoever is asked: libvirt and the process table. In the pause of an epoch libvirt says
# "paused", so it may be asked again; that it runs twice is never forgiven.
runs_only_on() {
  local here_state there_state running tries
  for tries in 1 2 3 4 5 6; do
    here_state=$(state_of "$1") there_state=$(state_of "$(other "$1")")
    running=$(pgrep -fc "qemu-system.*-uuid $uuid" || true)
    case "$here_state/$there_state/$running" in
    running/paused/2 | running/shut\ off/1 | running//1) return 0 ;;
    running/running/*) break ;;
    esac
    nap_ms 170
  done
  why="the guest is \"$here_state\" on $1, \"$there_state\" on $(other "$1"), in $running processes"
  say "soak: $why"
  return 1
}

# The last state that a daemon told, from its log: asking it takes a Java process each time.
last_state() { sed -n "s/.* EventLog: $domain: \([A-Z_]*\)\(:.*\)\?$/\1/p; s/.* EventLog: $domain: standby of host . is armed.*/FOLLOWING/p" "$work/$1.log" | tail -n 1; }
is_protected() { [ "$(last_state "$p")" = PROTECTED ] && [ "$(last_state "$s")" = FOLLOWING ]; }
committed() { field "$s" committed; }
committed_beyond() { [ "$(committed || echo 0)" -gt "$1" ] 2>/dev/null; }
protected_again() { # a new epoch, and everything as it should be
  try 60 "protection by $s" is_protected || return 1
  local before
  before=$(committed)
  try 60 "an epoch beyond $before on $s" committed_beyond "$before" && is_protected
}
protect() { # the guest runs on $p
  local tries
  for tries in 1 2 3; do
    why="understudy protect on $p"
    us "$p" protect $domain --standby "$s" --fast 25% --interval "${interval_ms}ms" >"$work/protect.out" 2>&1 && return 0
    ! grep -q 'is protected already' "$work/protect.out" || return 0
    say "soak: protect, try $tries: $(tail -n 1 "$work/protect.out")"
    sleep 1
  done
  return 1
}

new_bed() {
  p=a s=b
  bed_up
  vcpus=2 guest_up proof "$memory_mib" "proof.size=48 proof.check=96 proof.rate=8"
  uuid=$(virsh_on a domuuid $domain | head -n 1)
  await 120 "the proof in the guest" ready a
}

# --- what the kills lead to

promoted() { awk '/PROMOTING: /{whole=0} /RUNNING: epoch|QEMU is complete/{whole=1} END{exit !whole}' "$work/$s.log"; }
taken_over() { # the other host goes on by itself
  try 40 "the guest's heartbeat on $s" heartbeat_since "$s" "$s_bytes" || return 1
  heartbeat_ms=$(($(now_ms) - killed_ms))
  count_after=$(counted_since "$s" "$s_bytes" | head -n 1)
  qemu_pid "$s" >"$work/$s.qemu"
  runs_only_on "$s" || return 1
  proves "$s" "$s_bytes" || return 1
  try 20 "the end of the promotion on $s" promoted || return 1
  epoch=$(sed -n 's/.*PROMOTING: epoch //p' "$work/$s.log" | tail -n 1)
  runs_only_on "$s" || return 1
  alive "$p_daemon" || (daemon_up "$p") || { why="the daemon on $p"; return 1; }
  p=$s s=$(other "$p")
  protect && protected_again && runs_only_on "$p"
}

goes_on() { # nothing happens to the guest, and it is protected again
  local bytes
  bytes=$(said_bytes "$p")
  protected_again || return 1
  alive "$p_qemu" || { why="QEMU $p_qemu on $p ended"; return 1; }
  proves "$p" "$bytes" && runs_only_on "$p" || return 1
  count_after=$(last_count "$p")
  epoch=$(committed)
}

# --- the kills

kill_host() {
  kill -9 "$p_qemu" "$p_daemon"
  taken_over
}
kill_qemu() {
  kill -9 "$p_qemu"
  taken_over
}
kill_daemon() {
  kill -9 "$p_daemon"
  nap_ms "$drawn"
  (daemon_up "$p") && goes_on
}
kill_standby_daemon() {
  kill -9 "$s_daemon"
  nap_ms "$drawn"
  (daemon_up "$s") && goes_on
}
new_standby_qemu() {
  local pid
  pid=$(qemu_pid "$s")
  [ -n "$pid" ] && [ "$pid" != "$s_qemu" ] && alive "$pid"
}
kill_standby_qemu() {
  kill -9 "$s_qemu"
  try 60 "a new standby QEMU on $s" new_standby_qemu && goes_on
}
judged() { # after the cable is mended: failed over, or not
  gone "$p_qemu" || { is_protected && committed_beyond "$s_epoch"; }
}
kill_link() {
  local s_epoch
  s_epoch=$(committed)
  "$here/two-hosts.sh" link "$work" down
  nap_ms $((1000 + drawn))
  "$here/two-hosts.sh" link "$work" up
  try 60 "a decision after a cut of $((1000 + drawn)) ms" judged || return 1
  if gone "$p_qemu"; then taken_over; else goes_on; fi
}

kill_qemu_and_standby_daemon() { # nobody can take over until the standby's daemon is back
  kill -9 "$s_daemon" "$p_qemu"
  nap_ms $((1000 + drawn))
  ! heartbeat_since "$s" "$s_bytes" || { why="the guest ran on $s without a daemon"; return 1; }
  (daemon_up "$s") && taken_over
}
promotions() { grep -c 'PROMOTING' "$work/$s.log" || true; }
await_promoting() { # number of promotions before
  local deadline=$(($(now_ms) + 30000))
  until [ "$(promotions)" -gt "$1" ]; do
    [ "$(now_ms)" -lt $deadline ] || { why="no promotion began on $s"; return 1; }
    sleep 0.01
  done
  nap_ms $((drawn / 10))
}
kill_promoting_daemon() {
  local before
  before=$(promotions)
  kill -9 "$p_qemu" "$p_daemon"
  await_promoting "$before" || return 1
  kill -9 "$s_daemon"
  nap_ms 100 # what QEMU had to say without it
  s_bytes=$(said_bytes "$s")
  (daemon_up "$s") && taken_over
}
kill_promoting_qemu() { # before it runs, or while it waits for pages
  local before
  before=$(promotions)
  kill -9 "$p_qemu" "$p_daemon"
  await_promoting "$before" || return 1
  if promoted; then
    say "soak: the promotion was faster than the kill; nothing more is killed"
  else
    kill -9 "$s_qemu"
    s_bytes=$(said_bytes "$s")
  fi
  taken_over
}

keep_logs() { # kill number, kind
  local to
  to=$cache/soak-failures/$(date +%Y%m%d-%H%M%S)-seed$seed-kill$1-$2
  mkdir -p "$to"
  for host in a b; do
    cp "$work/$host.log" "$to/$host.daemon.log" 2>/dev/null || true
    serial $host >"$to/$host.serial.log"
    us $host status --json >"$to/$host.status" 2>&1 || true
    us $host events >"$to/$host.events" 2>&1 || true
    cp "$work/$host"/log/qemu/*.log "$to/" 2>/dev/null || true
  done
  say "soak: logs are in $to"
}

one_kill() { # number, kind
  local number=$1 kind=$2 wait_ms result=ok from
  draw 0 3000 && wait_ms=$drawn
  draw 0 3000
  epoch='-' count_after='-' heartbeat_ms='-' why=
  p_qemu=$(qemu_pid "$p") s_qemu=$(qemu_pid "$s") p_daemon=$(daemon_pid "$p") s_daemon=$(daemon_pid "$s")
  from=$p
  s_bytes=$(said_bytes "$s")
  nap_ms "$wait_ms"
  count_before=$(last_count "$p")
  killed_ms=$(now_ms)
  if ! "kill_${kind//-/_}"; then result="FAIL: ${why:-unknown}"; fi
  printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$(date +%Y-%m-%dT%H:%M:%S)" "$seed" "$number" "$kind" "$from>$p" \
    "$heartbeat_ms" "$epoch" "$count_before" "$count_after" "$result" >>"$table"
  printf '%4s %-15s %-5s after %4s ms: heartbeat %6s ms, epoch %5s, counter %6s > %6s, %3s s in all, %s\n' "$number" "$kind" \
    "$from>$p" "$wait_ms" "$heartbeat_ms" "$epoch" "$count_before" "$count_after" $((($(now_ms) - killed_ms) / 1000)) "$result"
  results+=("$kind	$from>$p	$heartbeat_ms	$result")
  [ "$result" = ok ]
}

mkdir -p "$cache"
[ -s "$table" ] ||
  printf 'time\tseed\tkill\tkind\tdirection\theartbeat_ms\tepoch\tcount_before\tcount_after\tresult\n' >"$table"
say "== $kills kills with seed $seed, of: ${kinds[*]}"
started=$(date +%s) failures=0 results=() fresh=1
for ((number = 1; number <= kills; number++)); do
  draw 0 $((${#kinds[@]} - 1))
  kind=${kinds[$drawn]}
  if [ $fresh = 1 ]; then
    new_bed
    protect && protected_again || { keep_logs "$number" protect; fail "a fresh guest could not be protected: $why"; }
    fresh=0
  fi
  if ! one_kill "$number" "$kind"; then
    failures=$((failures + 1)) fresh=1
    keep_logs "$number" "$kind"
    bed_down
    mkdir -p "$work"
  fi
done

say
say "== $kills kills, $failures failures, seed $seed, $(($(date +%s) - started)) s"
printf '%s\n' "${results[@]}" | awk -F'\t' '
  { n[$1]++; if ($4 == "ok") ok[$1]++; split($2, way, ">"); if (way[1] != way[2]) over[$1]++
    if ($3 != "-") { sum[$1] += $3; timed[$1]++; if ($3 > max[$1]) max[$1] = $3 } }
  END { printf "%-15s %6s %6s %10s %22s %22s\n", "kind", "kills", "ok", "taken over", "mean ms to heartbeat", "longest"
        for (k in n) printf "%-15s %6d %6d %10d %22s %22s\n", k, n[k], ok[k], over[k],
          timed[k] ? int(sum[k] / timed[k]) : "-", timed[k] ? max[k] : "-" }'
[ $failures = 0 ]
