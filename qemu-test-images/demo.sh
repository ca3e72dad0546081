#!/usr/bin/env bash
# The main job, shown: a VM with redis under load is protected, its host's QEMU and daemon are killed with SIGKILL, and it goes on,
# by itself, on the other host. Then once more with a fence that fails: nothing may start.
set -euo pipefail
work=$(mktemp -d /tmp/us-demo.XXXX)
domain=redis
seconds=${DEMO_SECONDS:-20}
memory_mib=${DEMO_MEMORY_MIB:-512}
# shellcheck source=bed.sh
. "$(dirname "$0")/bed.sh"

finish() {
  rc=$?
  trap - EXIT
  if [ $rc -ne 0 ]; then
    for host in a b; do
      say "--- the daemon on $host"
      tail -n 25 "$work/$host.log" 2>/dev/null || true
      say "--- the guest's serial port on $host"
      serial $host | tail -n 4
    done
  fi
  bed_down || rc=1
  exit $rc
}
trap finish EXIT
trap 'exit 130' INT TERM

export UNDERSTUDYD_JAVA_OPTS=-Dunderstudy.log=DEBUG # a line for each epoch
say "== two hosts, a libvirt and an understudyd on each"
bed_up
say "== a VM of $memory_mib MiB with redis under load on host a"
guest_up redis "$memory_mib" "redis.size=100 redis.scan=20"
await 120 "redis in the guest" ready a
say "== understudy protect $domain --standby b --fast 25%"
us a protect $domain --standby b --fast 25%

say "== protected for $seconds s; epochs as they are committed"
timeout "$seconds" tail -n 0 -F "$work/a.log" 2>/dev/null |
  sed -un 's/^\([0-9:.]*\) DEBUG .* epoch \([0-9]*\): \([0-9]*\) pages.*open \([0-9.]* ms\).*copy \([0-9.]* ms\).* paused \([0-9.]* ms\);.*/\1  epoch \2 committed: \3 pages, guest paused \6 (copy \5), drain and flush before it \4/p' || true

# All of one moment: with every epoch other pages are zero.
us b status $domain --json >"$work/tiers"
tier() { sed -n "s/^ *\"$1\" : \([0-9]*\).*/\1/p" "$work/tiers" | head -n 1; }
fast=$(tier fastPages) medium=$(tier mediumPages) slow=$(tier slowPages) zero=$(tier zeroPages) all=$(tier guestPages)
say "== SIGKILL to QEMU and to the daemon on host a"
killed_count=$(last_count a)
daemon_a=$(daemon_pid a)
killed=$(now_ms)
kill -9 "$(cat "$work/a.qemu")" "$daemon_a"
await 30 "the guest's heartbeat on host b" counts_beyond b 0
heartbeat=$(now_ms)
first_count=$(serial b | tr -d '\r' | sed -n 's/^redis last=\([0-9]*\) ok.*/\1/p' | head -n 1)
say "   goes on at last=$first_count; host a had printed last=$killed_count"
await 90 "two passes over all keys in the guest" passes_beyond b "$(($(last_pass a) + 1))"
[ -z "$(broken b)" ] || fail "the guest's proof is broken: $(broken b)"
await 10 "the end of the promotion" is b state RUNNING

v() { field b "$1"; }
nonzero=$((all - zero))
say
say "epoch resumed              $(v epoch)"
say "pages of the guest         $all, $nonzero of them not zero"
say "in Fast / Medium / Slow    $fast / $medium / $slow  (Fast $((100 * fast / nonzero)) % of the non-zero pages)"
say "detection                  $(($(v detectedAt) - killed)) ms after the kill: $(v why)"
say "fence                      $(v fenceMs) ms"
printf 'promotion to "runs"        %.1f ms\n' "$(v runningMs)"
say "kill to first heartbeat    $((heartbeat - killed)) ms (the guest prints five lines a second)"
say "pages asked for on demand  $(v wantedPages) and $(v wantedZeroPages) zero ones; pushed $(v pushedPages)"
printf 'wait for such a page       p50 %.0f us, p99 %.0f us\n' "$(v wantedP50Us)" "$(v wantedP99Us)"
say "redis after it             last=$(last_count b), every key compared, $(last_pass b) passes"
[ $((100 * fast)) -le $((25 * nonzero)) ] || fail "Fast held more than 25 % of the non-zero pages"
[ "$first_count" -gt 0 ] || fail "no count"

say
say "== the same once more in the other direction, from b to a, with a fence that fails: nothing may start"
write_fence a b broken
daemon_up a
qemu_pid b >"$work/b.qemu"
us b protect $domain --standby a --fast 25%
await 60 "a committed epoch" is b state PROTECTED
kill -9 "$(cat "$work/b.qemu")" "$(daemon_pid b)"
await 30 "the failed fence" is a state FENCE_FAILED
say "   state on a: $(field a state)"
say "   $(us a status $domain | sed -n 's/^reason *//p')"
sleep 3
[ "$(virsh_on a domstate $domain)" = paused ] || fail "the guest is $(virsh_on a domstate $domain) on host a, expected paused"
is a state FENCE_FAILED || fail "host a is $(field a state) after the fence failed"
say "   nothing was started; the operator makes sure and says: understudy failover $domain --force"
before=$(last_count b)
passes=$(last_pass a || true)
us a failover $domain --force >/dev/null
await 30 "the guest's heartbeat on host a" counts_beyond a "$((before - 1000))"
await 90 "a pass over all keys" passes_beyond a "$(($(last_pass b) + 1))"
[ -z "$(broken a)" ] || fail "the guest's proof is broken: $(broken a)"
say "   runs on a at last=$(last_count a)"
