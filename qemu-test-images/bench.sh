#!/usr/bin/env bash
# The measurements of docs/benchmarks.md, under TCG. Raw figures are appended below .cache/bench.
#   bench.sh rooms   each room by itself (direct QMP socket)
#   bench.sh whole   through libvirt, beside a poller of domstats: unprotected and protected slices of one guest interleaved
#   bench.sh arms    failovers with all pages in Fast (FULL) and next to none (LAZY), and virsh save and restore (EAGER), interleaved
#   bench.sh         all of them
set -euo pipefail
work=$(mktemp -d /tmp/us-bench.XXXX)
domain=proof
# shellcheck source=bed.sh
. "$(dirname "$0")/bed.sh"
part=${1:-all}
results=$here/../.cache/bench
rounds=${BENCH_ROUNDS:-5}
slice=${BENCH_SLICE_SECONDS:-10}
memory_mib=${BENCH_MEMORY_MIB:-1024}
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

load() { cut -d ' ' -f 1 /proc/loadavg; }
# Sorts numbers, prints median and extremes.
summary() { sort -n | awk '{ v[NR] = $1 } END { if (NR) printf "median %s [%s..%s] of %d\n", v[int((NR + 1) / 2)], v[1], v[NR], NR; else print "nothing" }'; }

rooms() {
  say "== rooms by themselves, load average $(load)"
  (cd "$here/.." && mvn -B -pl dirty-log-reader,tier-manager,standby-loader -am test \
    -Dtest='PauseMeasurementTest,ScanTimeTest,PromotionMeasurement' -Dsurefire.failIfNoSpecifiedTests=false) |
    grep -E ' ms|MB/s|BUILD' | tee -a "$results/rooms.txt"
}

# A guest that always has work to do: it rewrites one page and compares 32 others in turn, as fast as it can.
busy_guest() {
  export UNDERSTUDYD_JAVA_OPTS=-Dunderstudy.log=DEBUG
  bed_up
  # Host b is another host: what its daemon stores and places should not take the guest's processor away.
  renice -n 19 -p "$(daemon_pid b)" >/dev/null
  guest_up proof "$memory_mib" "proof.size=128 proof.touch=1 proof.rate=1000 proof.check=32000"
  await 120 "the guest" ready a
}

# The host's clock and the guest's counter at the moment when the guest has printed a new line.
tick() { # host; sets ms and count
  local before
  before=$(last_count "$1")
  until count=$(tail -c 400 "$work/$1/lib/serial/$domain.log" | tr -d '\r' | sed -n 's/^proof \([0-9]*\) ok .* pass=.*/\1/p' | tail -n 1) &&
    [ -n "$count" ] && [ "$count" != "$before" ]; do sleep 0.01; done
  ms=$(now_ms)
}

whole() {
  busy_guest
  mkfifo "$work/ask"
  on a virsh -q -c qemu:///system <"$work/ask" >/dev/null 2>&1 &
  (while sleep 0.2; do echo "domstats $domain"; done) >"$work/ask" &
  poller=$!
  say "== slices of $slice s: unprotected, 1000 ms, 200 ms epochs; $rounds rounds; guest of $memory_mib MiB; load average $(load)"
  for ((round = 1; round <= rounds; round++)); do
    for arm in none 1000 200; do
      if [ $arm != none ]; then
        us a protect $domain --standby b --interval ${arm}ms --fast 25% >/dev/null
        sleep 5 # the first copy finds its places
      fi
      local from began before rate
      from=$(($(wc -l <"$work/a.log") + 1))
      tick a
      began=$ms before=$count
      sleep "$slice"
      tick a
      rate=$(((count - before) * 1000000 / (ms - began)))
      printf '%s\t%s\t%s\n' "$round" "$arm" "$rate" | tee -a "$results/slices.tsv"
      tail -n +"$from" "$work/a.log" | sed -n "s/^.* epoch .*: \([0-9]*\) pages in .*open \([0-9.]*\) ms, scan \([0-9.]*\) ms, copy \([0-9.]*\) ms, device state \([0-9.]*\) ms, paused \([0-9.]*\) ms.*/$arm\t\1\t\2\t\3\t\4\t\5\t\6/p" \
        >>"$work/epochs.tsv"
      if [ $arm != none ]; then
        us a status $domain --json | sed -n 's/^ *"\(wireBytes\|rawBytes\)" : \([0-9]*\).*/\1 \2/p' | paste -sd' ' >>"$work/bytes.txt"
        local daemon
        daemon=$(daemon_pid a)
        printf '%s\t%s\t%s\t%s\n' "$(awk '/VmRSS/ { print $2 }' "/proc/$daemon/status")" \
          "$(jcmd "$daemon" GC.heap_info | sed -n 's/.*generation.* total \([0-9]*\)K, used \([0-9]*\)K.*/\2/p' | awk '{ sum += $1 } END { print sum }')" \
          "$(awk '/VmRSS/ { print $2 }' "/proc/$(qemu_pid b)/status")" \
          "$(($(field b fastLimitPages) * 4))" >>"$work/memory.tsv"
        us a unprotect $domain >/dev/null
      fi
    done
  done
  kill "$poller"
  poller=
  cat "$work/epochs.tsv" >>"$results/epochs.tsv"
  say "== transactions of the guest per 1000 s, alone on its processor; and against the unprotected slice of the same round"
  for arm in none 1000 200; do
    printf '%-6s ' $arm
    tail -n $((3 * rounds)) "$results/slices.tsv" | awk -v arm=$arm '$2 == arm { print $3 }' | summary
  done
  for arm in 1000 200; do
    printf '%-6s slower by %% ' $arm
    tail -n $((3 * rounds)) "$results/slices.tsv" |
      awk -v arm=$arm '$2 == "none" { none = $3 } $2 == arm { printf "%.1f\n", 100 * (1 - $3 / none) }' | summary
  done
  say "== pauses in ms, through libvirt, beside domstats five times a second"
  for arm in 1000 200; do
    local column=2
    for what in pages "drain and flush" scan copy "device state" paused; do
      printf '%-6s %-16s ' $arm "$what"
      awk -F'\t' -v arm=$arm -v c=$column '$1 == arm { print $c }' "$work/epochs.tsv" | summary
      column=$((column + 1))
    done
    printf '%-6s %-16s ' $arm "over the aim by"
    awk -F'\t' -v arm=$arm -v gib="$memory_mib" '$1 == arm { printf "%.2f\n", $7 - (5 + $2 / 2048 + gib / 1024) }' "$work/epochs.tsv" | summary
    printf '%-6s %-16s ' $arm "epochs a second"
    awk -F'\t' -v arm=$arm -v s=$((rounds * slice)) '$1 == arm { n++ } END { printf "%.2f\n", n / s }' "$work/epochs.tsv"
  done
  say "== link and memory"
  awk '{ for (i = 1; i < NF; i += 2) sum[$i] += $(i + 1) } END { printf "wire %.0f MiB for %.0f MiB of pages\n", sum["wireBytes"] / 1048576, sum["rawBytes"] / 1048576 }' "$work/bytes.txt"
  local column=1
  for what in "daemon on a, resident" "its heap in use" "standby QEMU, resident" "Fast budget"; do
    printf '%-24s MiB ' "$what"
    awk -F'\t' -v c=$column '{ printf "%.0f\n", $c / 1024 }' "$work/memory.tsv" | summary
    column=$((column + 1))
  done
  bed_down
  mkdir -p "$work"
}

# One failover from $p to $s with a share of the guest in Fast; appends a line to arms.txt.
failover_arm() { # arm, share
  local killed heartbeat bytes
  us "$p" protect $domain --standby "$s" --interval 1000ms --fast "$2" >/dev/null
  await 60 "protection" is "$p" state PROTECTED
  sleep 8 # the first copy finds its places
  bytes=$(serial "$s" | wc -c)
  killed=$(now_ms)
  kill -9 "$(qemu_pid "$p")"
  await 60 "the heartbeat on $s" printed_beyond "$s" "$bytes"
  heartbeat=$(now_ms)
  await 60 "the end of the promotion" is "$s" state RUNNING
  us "$s" status $domain --json >"$work/status"
  v() { sed -n "s/^ *\"$1\" : \"\{0,1\}\([^\",]*\).*/\1/p" "$work/status" | tail -n 1; }
  row "$1" "$(v preparedMs)" "$(v loadedMs)" "$(v runningMs)" "$(v totalMs)" $((heartbeat - killed)) "$(v wantedPages)" \
    "$(v residentPages)" "$(v wantedP50Us)" "$(v wantedP99Us)" "$(v fenceMs)" | tee -a "$work/arms.txt"
  local other=$p
  p=$s s=$other
}
row() { printf '%-6s %9s %9s %9s %9s %9s %9s %9s %9s %9s %9s\n' "$@"; }
printed_beyond() { serial "$1" | tail -c +$(($2 + 1)) | grep -aq '^proof [0-9]* ok'; }

# virsh save keeps the whole guest in a file, from the page cache; its restore, on the same host.
restore_arm() {
  local began running heartbeat bytes saving
  sleep 5
  saving=$(now_ms)
  virsh_on "$p" save $domain "$work/saved" >/dev/null
  bytes=$(serial "$p" | wc -c)
  began=$(now_ms)
  virsh_on "$p" restore "$work/saved" >/dev/null
  running=$(now_ms)
  await 60 "the heartbeat after restore" printed_beyond "$p" "$bytes"
  heartbeat=$(now_ms)
  row EAGER - - $((running - began)) $((running - began)) $((heartbeat - began)) 0 $(($(stat -c %s "$work/saved") / 4096)) \
    - - - | tee -a "$work/arms.txt"
  say "   saving took $((began - saving)) ms"
  rm -f "$work/saved"
}

arms() {
  p=a s=b
  bed_up
  guest_up proof "$memory_mib" "proof.size=128 proof.rate=8 proof.check=64"
  await 120 "the guest" ready a
  say "== $rounds rounds of FULL, LAZY, EAGER; guest of $memory_mib MiB; load average $(load)"
  say "ms from the promotion's (EAGER: restore's) begin, but heartbeat of FULL and LAZY from the kill; pages; waits in us"
  row arm prepared loaded running complete heartbeat asked resident p50 p99 fence
  for ((round = 1; round <= rounds; round++)); do
    failover_arm FULL 100%
    failover_arm LAZY 0.001%
    restore_arm
  done
  cat "$work/arms.txt" >>"$results/arms.txt"
  for arm in FULL LAZY EAGER; do
    local column=2
    for what in prepared loaded running complete heartbeat "asked for" resident; do
      printf '%-6s %-10s ' $arm "$what"
      awk -v arm=$arm -v c=$column '$1 == arm && $c != "-" { print $c }' "$work/arms.txt" | summary
      column=$((column + 1))
    done
  done
  bed_down
  mkdir -p "$work"
}

case $part in
rooms | whole | arms) $part ;;
all)
  rooms
  whole
  arms
  ;;
*) fail "usage: bench.sh [rooms|whole|arms]" ;;
esac
