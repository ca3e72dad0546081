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
# shellcheck source=moves.sh
. "$here/moves.sh"
cache=$here/../.cache
table=$cache/soak.tsv

all_kinds="host qemu daemon standby-daemon standby-qemu link qemu-and-standby-daemon promoting-daemon promoting-qemu
 finishing-daemon guard libvirtd stopped-daemon stalled-daemon stopped-guard stalled-guard stalled-libvirtd
 libvirtd-and-daemon"
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

kill_finishing_daemon() { # the guest runs already and waits for pages: it goes on where it is
  local points=(DEVICES_LOADED FIRST_PAGES_SENT LAST_PAGES_SENT GUEST_WHOLE)
  plan "$s" "${points[$((drawn % 4))]}" kill self
  kill -9 "$p_qemu" "$p_daemon"
  try 30 "step ${points[$((drawn % 4))]} on $s" struck "$s" || return 1
  try 10 "the end of the daemon on $s" gone "$s_daemon" || return 1
  nap_ms $((drawn / 10))
  (daemon_up "$s") || return 1
  try 60 "the end of the promotion on $s" promoted || return 1
  [ "$(qemu_pid "$s")" = "$s_qemu" ] || { why="the guest had run in QEMU $s_qemu and was begun again"; return 1; }
  rises "$s" "$s_bytes" || return 1
  taken_over
}

# Either host's; nothing may happen to the guest.
kill_guard() { kill -9 "$(guard_pid "$p")" && goes_on; }
kill_stopped_guard() { kill -STOP "$(guard_pid "$p")" && goes_on; }
kill_stalled_guard() {
  local pid
  pid=$(guard_pid "$p")
  kill -STOP "$pid"
  sleep 5
  kill -CONT "$pid" 2>/dev/null || true # the daemon may have ended it
  goes_on
}
draw_host() { if [ $((drawn % 2)) = 0 ]; then echo "$p"; else echo "$s"; fi; }
kill_libvirtd() {
  local host pid
  host=$(draw_host) pid=$(libvirtd_pid "$(draw_host)")
  kill -9 "$pid"
  nap_ms "$drawn"
  libvirtd_up "$host" && goes_on
}
kill_libvirtd_and_daemon() { # the daemon is back first
  local host pid=$p_daemon
  host=$(draw_host)
  [ "$host" = "$p" ] || pid=$s_daemon
  kill -9 "$(libvirtd_pid "$host")" "$pid"
  daemon_start "$host"
  nap_ms $((1000 + drawn))
  libvirtd_up "$host" && try 30 "the daemon on $host" listens "$host" && goes_on
}
kill_stalled_libvirtd() {
  local pid
  pid=$(libvirtd_pid "$(draw_host)")
  kill -STOP "$pid"
  sleep 5
  kill -CONT "$pid"
  goes_on
}
hold_daemon() { # seconds; in a pause of the guest's the guard ends it before
  local host=$1 pid=$p_daemon
  [ "$host" = "$p" ] || pid=$s_daemon
  kill -STOP "$pid"
  sleep "$2"
  "$3" "$pid" 2>/dev/null || true
  nap_ms 200
  alive "$pid" || (daemon_up "$host") || { why="the daemon on $host"; return 1; }
  goes_on
}
kill_stopped_daemon() { hold_daemon "$(draw_host)" 10 end; } # as the service manager's watchdog does
kill_stalled_daemon() { hold_daemon "$(draw_host)" 5 wake; }
end() { kill -9 "$1"; }
wake() { kill -CONT "$1"; }

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
