#!/usr/bin/env bash
# The measurements of docs/benchmarks.md, under TCG: rooms by themselves (direct QMP socket), then whole runs through libvirt beside
# a poller of domstats, protected and unprotected slices of one guest interleaved. Raw figures are appended below .cache/bench.
#   bench.sh [rooms|whole]
set -euo pipefail
work=$(mktemp -d /tmp/us-bench.XXXX)
domain=proof
# shellcheck source=bed.sh
. "$(dirname "$0")/bed.sh"
part=${1:-all}
results=$here/../.cache/bench
rounds=${BENCH_ROUNDS:-5}
slice=${BENCH_SLICE_SECONDS:-10}
mkdir -p "$results"

poller=
finish() {
  rc=$?
  trap - EXIT
  [ -z "$poller" ] || kill "$poller" 2>/dev/null || true
  bed_down || rc=1
  exit $rc
}
trap finish EXIT
trap 'exit 130' INT TERM

rooms() {
  say "== rooms by themselves, load average $(cut -d ' ' -f 1 /proc/loadavg)"
  (cd "$here/.." && mvn -B -pl dirty-log-reader,tier-manager,standby-loader -am test \
    -Dtest='PauseMeasurementTest,ScanTimeTest,PromotionMeasurement' -Dsurefire.failIfNoSpecifiedTests=false) |
    grep -E ' ms|MB/s|BUILD' | tee -a "$results/rooms.txt"
}

# Sorts numbers, prints median and extremes.
summary() { sort -n | awk '{ v[NR] = $1 } END { if (NR) printf "median %s [%s..%s] of %d\n", v[int((NR + 1) / 2)], v[1], v[NR], NR; else print "nothing" }'; }

whole() {
  export UNDERSTUDYD_JAVA_OPTS=-Dunderstudy.log=DEBUG
  bed_up
  guest_up proof 512 "proof.size=128 proof.rate=${BENCH_RATE_MIB:-16} proof.check=16"
  await 120 "the guest" ready a
  (while sleep 0.2; do virsh_on a domstats "$domain" >/dev/null 2>&1 || true; done) &
  poller=$!
  say "== slices of $slice s: unprotected, 1000 ms, 200 ms epochs; $rounds rounds; load average $(cut -d ' ' -f 1 /proc/loadavg)"
  for ((round = 1; round <= rounds; round++)); do
    for arm in none 1000 200; do
      if [ $arm != none ]; then
        us a protect $domain --standby b --interval ${arm}ms --fast 25% >/dev/null
        sleep 2
      fi
      local from=$(wc -l <"$work/a.log") began before
      began=$(now_ms) before=$(last_count a)
      sleep "$slice"
      local after rate
      after=$(last_count a)
      rate=$(((after - before) * 1000000 / ($(now_ms) - began)))
      printf '%s\t%s\t%s\n' "$round" "$arm" "$rate" | tee -a "$results/slices.tsv"
      tail -n +"$from" "$work/a.log" | sed -n "s/^.* epoch .*: \([0-9]*\) pages in .*open \([0-9.]*\) ms, scan \([0-9.]*\) ms, copy \([0-9.]*\) ms, device state \([0-9.]*\) ms, paused \([0-9.]*\) ms.*/$arm\t\1\t\2\t\3\t\4\t\5\t\6/p" \
        >>"$work/epochs.tsv"
      if [ $arm != none ]; then
        us a status $domain --json | sed -n 's/^ *"\(wireBytes\|rawBytes\)" : \([0-9]*\).*/\1 \2/p' | paste -sd' ' >>"$work/bytes.txt"
        grep -E 'VmRSS|VmHWM' "/proc/$(daemon_pid a)/status" >"$work/daemon.mem"
        grep VmRSS "/proc/$(qemu_pid b)/status" >"$work/standby.mem"
        us a unprotect $domain >/dev/null
      fi
    done
  done
  cat "$work/epochs.tsv" >>"$results/epochs.tsv"
  say "== transactions per 1000 s of guest work"
  for arm in none 1000 200; do
    printf '%-6s ' $arm
    tail -n $((3 * rounds)) "$results/slices.tsv" | awk -v arm=$arm '$2 == arm { print $3 }' | summary
  done
  say "== pauses in ms, through libvirt, beside domstats five times a second"
  for arm in 1000 200; do
    local column=2
    for what in pages "drain and flush" scan copy "device state" paused; do
      printf '%-6s %-16s ' $arm "$what"
      awk -F'\t' -v arm=$arm -v c=$column '$1 == arm { print $c }' "$work/epochs.tsv" | summary
      column=$((column + 1))
    done
  done
  say "== link and memory"
  awk '{ for (i = 1; i < NF; i += 2) sum[$i] += $(i + 1) } END { printf "wire %.0f MiB for %.0f MiB of pages\n", sum["wireBytes"] / 1048576, sum["rawBytes"] / 1048576 }' "$work/bytes.txt"
  say "daemon on a: $(paste -sd' ' "$work/daemon.mem"); standby QEMU: $(cat "$work/standby.mem")"
}

case $part in
rooms) rooms ;;
whole) whole ;;
all)
  rooms
  whole
  ;;
*) fail "usage: bench.sh [rooms|whole]" ;;
esac
