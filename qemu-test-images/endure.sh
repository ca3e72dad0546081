#!/usr/bin/env bash
# One guest is protected for a long time, and everything that could grow is watched:
#   endure.sh [--minutes M] [--epochs N] [--interval MS] [--every SECONDS]
# Ends when both M minutes have passed and N epochs are committed. Each sample is a line of .cache/endure.tsv; the plot of the last
# run of ten minutes or more is .cache/endure.svg. Judged: the same processes from begin to end, the guest's proof, protection
# without a break, descriptors and threads, files, and, from ten minutes on, memory.
set -euo pipefail
work=$(mktemp -d /tmp/us-endure.XXXX)
domain=proof
# shellcheck source=bed.sh
. "$(dirname "$0")/bed.sh"
cache=$here/../.cache
table=$cache/endure.tsv

minutes=60 epochs=0 interval_ms=200 every=10
while [ $# -gt 0 ]; do
  case $1 in
  --minutes) minutes=${2:?--minutes M} ;;
  --epochs) epochs=${2:?--epochs N} ;;
  --interval) interval_ms=${2:?--interval MS} interval_ms=${interval_ms%ms} ;;
  --every) every=${2:?--every SECONDS} ;;
  *) fail "unknown option $1; usage: endure.sh [--minutes M] [--epochs N] [--interval MS] [--every SECONDS]" ;;
  esac
  case ${2-} in '' | *[!0-9ms]*) fail "$1 ${2-}: a whole number is expected" ;; esac
  shift 2
done

finish() {
  rc=$?
  trap - EXIT
  [ $rc -eq 0 ] || for host in a b; do
    say "--- the daemon on $host"
    tail -n 15 "$work/$host.log" 2>/dev/null || true
  done
  bed_down || rc=1
  exit $rc
}
trap finish EXIT
trap 'exit 130' INT TERM

rss_kib() { sed -n 's/^VmRSS:[[:space:]]*\([0-9]*\) kB/\1/p' "/proc/$1/status" 2>/dev/null || echo 0; }
threads() { sed -n 's/^Threads:[[:space:]]*//p' "/proc/$1/status" 2>/dev/null || echo 0; }
# What a process's descriptors are, without the numbers that differ each time: as most of fifteen looks saw it, since a pause has a pipe
# in QEMU, and none of its event descriptors.
fd_kinds() {
  local look
  for look in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
    find "/proc/$1/fd" -type l -printf '%l\n' 2>/dev/null | sed 's/:\[[0-9]*\]//' | sort | uniq -c | tr -s ' \n' ' |'
    echo
    sleep 0.0$((look % 5 + 1))
  done | sort | uniq -c | sort -rn | sed -n '1s/^ *[0-9]* //p' | tr '|' '\n'
}
fds() { fd_kinds "$1" | awk '{ n += $1 } END { print n + 0 }'; }
files_in() { find "$@" -type f 2>/dev/null | wc -l; }
kib_in() { du -skc "$@" 2>/dev/null | tail -n 1 | cut -f 1; }
# What is alive in a daemon's heap: it collects everything first.
live_kib() { jcmd "$1" GC.class_histogram 2>/dev/null | awk '/^Total/ { print int($3 / 1024) }'; }

processes=(qemu_a daemon_a guard daemon_b qemu_b)
find_processes() {
  pid_qemu_a=$(qemu_pid a) pid_daemon_a=$(daemon_pid a) pid_daemon_b=$(daemon_pid b) pid_qemu_b=$(qemu_pid b)
  pid_guard=$(pgrep -f "org.understudy.guard.Guard $work/a-us/" | head -n 1 || true)
}
header() {
  local process
  printf 'run\tload\tinterval_ms\tseconds\tstate\tepoch\tpages\tpaused_ms\tload1\tlive_a_kib\tlive_b_kib\tfiles\tfiles_kib'
  for process in "${processes[@]}"; do printf '\t%s_rss_kib\t%s_fds\t%s_threads' "$process" "$process" "$process"; done
  printf '\n'
}
sample() {
  local process pid status state epoch live_a='' live_b=''
  status=$(us a status $domain --json 2>/dev/null || true)
  of() { sed -n "s/^ *\"$1\" : \"\{0,1\}\([^\",]*\).*/\1/p" <<<"$status" | head -n 1; }
  state=$(of state) epoch=$(of epoch)
  # Ten times in a run, as it stops the daemon for a moment.
  if [ $((sampled % live_every)) = 0 ]; then live_a=$(live_kib "$pid_daemon_a") live_b=$(live_kib "$pid_daemon_b"); fi
  sampled=$((sampled + 1))
  printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s' "$run" "proof 256 MiB" "$interval_ms" "$(($(date +%s) - started))" \
    "${state:-none}" "${epoch:-0}" "$(of pages)" "$(of pausedMs)" "$(cut -d ' ' -f 1 /proc/loadavg)" "$live_a" "$live_b" \
    "$(files_in "$work/a-us" "$work/b-us")" "$(kib_in "$work/a-us" "$work/b-us")"
  for process in "${processes[@]}"; do
    pid=pid_$process
    printf '\t%s\t%s\t%s' "$(rss_kib "${!pid}")" "$(fds "${!pid}")" "$(threads "${!pid}")"
  done
  printf '\n'
  committed=${epoch:-0}
}
kinds_of_all() { # suffix
  local process pid
  for process in "${processes[@]}"; do
    pid=pid_$process
    fd_kinds "${!pid}" >"$work/$process.$1"
  done
}

bed_up
vcpus=1 guest_up proof 256 "proof.size=64 proof.rate=4 proof.check=24 io.rate=20"
await 180 "the proof in the guest" ready a
find_processes
fd_kinds "$pid_qemu_a" >"$work/unprotected"
us a protect $domain --standby b --fast 25% --interval "${interval_ms}ms" >/dev/null
await 60 "protection" is a state PROTECTED
find_processes
run=$(date +%Y-%m-%dT%H:%M:%S)
mkdir -p "$cache"
header >"$work/header"
[ "$(head -n 1 "$table" 2>/dev/null)" = "$(cat "$work/header")" ] || cat "$work/header" >"$table"
say "== $minutes min and $epochs epochs of $interval_ms ms at least; samples are in .cache/endure.tsv, run $run"

started=$(date +%s) sampled=0 committed=0
live_every=$((minutes * 6 / every + 1))
sample >/dev/null # the first attach of jcmd opens a socket and starts a thread
sampled=0
sleep 3
kinds_of_all before
deadline=$((started + minutes * 60))
patience=$((deadline + minutes * 60 + 120 + epochs)) # a loaded machine makes fewer epochs
while :; do
  sample >"$work/sample"
  cat "$work/sample" >>"$table"
  committed=$(cut -f 6 "$work/sample")
  now=$(date +%s)
  [ "$now" -lt $deadline ] || [ "$committed" -lt "$epochs" ] || [ $sampled -lt 4 ] || break
  [ "$now" -lt $patience ] || fail "only $committed epochs in $((now - started)) s"
  sleep "$every"
done
kinds_of_all after

say "== $committed epochs in $((now - started)) s"
failures=0
verdict() { # ok or not, sentence
  if [ "$1" = 0 ]; then say "ok  $2"; else
    failures=$((failures + 1))
    say "not ok  $2"
  fi
}
for process in "${processes[@]}"; do
  pid=pid_$process
  kill -0 "${!pid}" 2>/dev/null && rc=0 || rc=1
  verdict $rc "process ${!pid} ($process) is the same from begin to end"
done
[ -z "$(broken a)" ] && rc=0 || rc=1
verdict $rc "the guest's proof holds: pass $(last_pass a) $(broken a)"
for process in qemu_a qemu_b; do
  diff "$work/$process.before" "$work/$process.after" >"$work/diff" && rc=0 || rc=1
  verdict $rc "descriptors of $process are those of the begin, $(awk '{ n += $1 } END { print n }' "$work/$process.after") $(grep '^[<>]' "$work/diff" | tr -s ' \n' ' ' || true)"
done
awk -F '\t' -v run="$run" -f "$here/endure-verdict.awk" "$table" && rc=0 || rc=1
[ $rc = 0 ] || failures=$((failures + 1))

us a unprotect $domain >/dev/null
fd_kinds "$pid_qemu_a" >"$work/after"
diff "$work/unprotected" "$work/after" >"$work/diff" && rc=0 || rc=1
verdict $rc "unprotected again, QEMU has the descriptors it had before $(grep '^[<>]' "$work/diff" | tr -s ' \n' ' ' || true)"
left=$(find "$work/a-us" "$work/b-us" -type f -printf '%P\n' | sort | tr '\n' ' ')
say "   files left on both hosts: $left"
if [ "$minutes" -ge 10 ]; then
  awk -F '\t' -v run="$run" -f "$here/endure-plot.awk" "$table" >"$cache/endure.svg"
  say "   plot: .cache/endure.svg"
fi
[ $failures = 0 ]
