#!/usr/bin/env bash
# What a guest and its network see of its protection and of a failover: view.sh
# Clock, generation ID, announcements (after the fence, not before), pages that loading the devices waits for. One guest with
# virtio network and disk under load, an agent and a generation ID; one failover with a slow fence, one back.
set -euo pipefail
work=$(mktemp -d /tmp/us-view.XXXX)
domain=proof
mac=52:54:00:77:00:64
interval_ms=${VIEW_INTERVAL_MS:-200}
window=${VIEW_WINDOW:-15} # seconds over which the clock is watched
# shellcheck source=bed.sh
. "$(dirname "$0")/bed.sh"
failures=0

finish() {
  rc=$?
  trap - EXIT
  [ $rc -eq 0 ] || for host in a b; do
    say "--- the daemon on $host"
    tail -n 25 "$work/$host.log" 2>/dev/null || true
  done
  [ -z "${VIEW_KEEP:-}" ] || cp -r "$work" "$VIEW_KEEP" 2>/dev/null || true
  bed_down || rc=1
  exit $rc
}
trap finish EXIT
trap 'exit 130' INT TERM

check() { # sentence, command...
  local sentence=$1
  shift
  if "$@"; then say "ok  $sentence"; else
    failures=$((failures + 1))
    say "not ok  $sentence"
  fi
}

# A fence that takes its time, so that whoever does not wait for it is seen; says when the other host was seen off.
slow_fence() { # host that fences
  mv "$work/$1-fence" "$work/$1-fence-itself"
  cat >"$work/$1-fence" <<SH
#!/bin/sh
[ "\$1" != off ] || sleep 2
said=\$("$work/$1-fence-itself" "\$@") || { echo "\$said"; exit 1; }
echo "\$said"
[ "\$said" != off ] || date +%s.%6N >>"$work/$1.verified"
SH
  chmod +x "$work/$1-fence"
}

# --- the clock: milliseconds of the guest's and of this host's, when a line of the proof appears

clock_pair() { # host; sets guest_at and host_at
  local before now
  before=$(serial "$1" | tail -c 200 | grep -a '^proof [0-9]* ok' | tail -n 1)
  while now=$(tail -c 200 "$work/$1/lib/serial/$domain.log" | grep -a 'pass=[0-9]' | tail -n 1); do
    host_at=$(now_ms)
    [ "$now" = "$before" ] || break
  done
  guest_at=$(sed -n 's/^proof [0-9]* ok \([0-9]*\)\.\([0-9]*\) .*/\1\2/p' <<<"$now")
}
# Parts in a million that the guest's clock was slow by, over the window, and what status says that pauses took from it.
slow_ppm() { # host
  local guest_from host_from lost_from lost_to
  lost_from=$(field "$1" clockLostMs || true)
  clock_pair "$1"
  guest_from=$guest_at host_from=$host_at
  sleep "$window"
  lost_to=$(field "$1" clockLostMs || true)
  clock_pair "$1"
  ppm=$(awk "BEGIN { h = $host_at - $host_from; printf \"%d\", 1e6 * (h - ($guest_at - $guest_from)) / h }")
  told_ppm=$(awk "BEGIN { printf \"%d\", 1e6 * (${lost_to:-0} - ${lost_from:-0}) / ($host_at - $host_from) }")
}
# Milliseconds that the guest's wall clock is behind this host's, as its agent says.
behind_ms() { # host
  local before guest
  before=$(now_ms)
  guest=$(virsh_on "$1" qemu-agent-command $domain '{"execute":"guest-get-time"}' | sed 's/[^0-9]//g') || return 1
  behind=$((before + ($(now_ms) - before) / 2 - guest / 1000000))
}
agent_answers() { virsh_on "$1" domtime $domain >/dev/null 2>&1; }

# --- the generation ID, in the guest's memory: the first three fields are stored with their bytes turned round

genid_of() { virsh_on "$1" dumpxml $domain ${2:+"$2"} | sed -n 's|.*<genid>\(.*\)</genid>.*|\1|p'; }
genid_bytes() { sed 's/\(..\)\(..\)\(..\)\(..\)-\(..\)\(..\)-\(..\)\(..\)-/\4\3\2\1\6\5\8\7/; s/-//g' <<<"$1"; }
memory_of() { virsh_on "$1" qemu-monitor-command --hmp $domain "pmemsave 0 $((memory_mib << 20)) \"$work/$1.memory\"" >/dev/null; }
found_at() { # host, generation ID: offsets in its memory
  # shellcheck disable=SC2016
  perl -e 'local $/; open(F, "<:raw", $ARGV[0]) or die; $all = <F>; $id = pack("H*", $ARGV[1]);
    for ($at = index($all, $id); $at >= 0; $at = index($all, $id, $at + 1)) { print "$at\n" }' "$work/$1.memory" "$(genid_bytes "$2")"
}
only_genid_differs() { # offset of the ID; both hosts' page around it
  local page=$(($1 / 4096))
  for host in a b; do dd if="$work/$host.memory" of="$work/$host.page" bs=4096 skip=$page count=1 status=none; done
  [ "$(cmp -l "$work/a.page" "$work/b.page" | awk -v from=$(($1 % 4096)) '$1 <= from || $1 > from + 16' | wc -l)" = 0 ]
}

memory_mib=256
bed_up
slow_fence b
genid=$(cat /proc/sys/kernel/random/uuid)
domain_words="<genid>$genid</genid>"
device_words="<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
"$here/build-guests.sh" agent >/dev/null
vcpus=2 guest_up agent $memory_mib "proof.size=48 proof.check=24 proof.rate=8"
await 180 "the proof in the guest" ready a
await 60 "the guest's agent" agent_answers a
slow_ppm a
unprotected_ppm=$ppm
us a protect $domain --standby b --fast 25% --interval "${interval_ms}ms" >/dev/null
await 60 "protection" is a state PROTECTED
slow_ppm a
say "   guest's clock: slow by $unprotected_ppm ppm unprotected, by $ppm ppm with epochs of $interval_ms ms; status tells $told_ppm ppm"
behind_ms a
say "   guest's wall clock $behind ms behind; status: $(field a clockAgent), set $(field a clockSets) times"
memory_of a
old_at=$(found_at a "$genid")
check "the generation ID $genid lies once in the guest's memory on a, at ${old_at:-nothing}" test "$(wc -w <<<"$old_at")" = 1

on b tcpdump -i up0 -Q out -n -e -tt -l --immediate-mode "ether src $mac" >"$work/out.frames" 2>"$work/out.log" &
await 20 "tcpdump on b" grep -q 'listening on' "$work/out.log"
say "== SIGKILL to QEMU and to the daemon on host a"
killed_ms=$(now_ms)
kill -9 "$(cat "$work/a.qemu")" "$(daemon_pid a)"
await 60 "the guest's heartbeat on host b" counts_beyond b 0
await 60 "the end of the promotion" is b state RUNNING
say "   detected after $(($(field b detectedAt) - killed_ms)) ms, fence $(field b fenceMs) ms, runs $(field b runningMs) ms after its begin"
wanted=$(field b wantedLoadingPages)
check "$wanted pages were asked for before the guest ran, $(field b wantedPages) in all" test "$wanted" -le 3
late() { [ "$(field b clock | grep -c waiting)" = 0 ]; }
await 30 "the guest's clock to be set" late
say "   clock: $(us b status $domain | sed -n 's/^clock  *//p')"
behind_ms b
check "the guest's wall clock is right again, $behind ms behind" test "${behind#-}" -lt 250

verified=$(tail -n 1 "$work/b.verified")
run_at=$(awk "BEGIN { printf \"%.6f\", ($(field b detectedAt) + $(field b fenceMs) + $(field b preparedMs)) / 1000 }")
before=$(awk -v at="$verified" '$1 < at' "$work/out.frames" | wc -l)
first=$(head -n 1 "$work/out.frames")
check "no frame of the guest left b before the fence was verified ($before of $(wc -l <"$work/out.frames"))" test "$before" = 0
check "the first, $(awk -v at="$run_at" '{ printf "%d", 1000 * ($1 - at) }' <<<"$first") ms after LISTEN and RUN were ready, announces the guest: ${first#* }" \
  grep -qE 'Reverse|RARP|Announcement|Request who-has 10.77.0.100.* tell 10.77.0.100' <<<"$first"
check "it came after RUN" awk -v at="$run_at" '{ exit $1 < at }' <<<"$first"

new=$(genid_of b)
memory_of b
check "b gave the guest a generation ID of its own" test -n "$new" -a "$new" != "$genid"
check "it lies where the old one was" test "$(found_at b "$new")" = "$old_at"
check "the old one is gone" test -z "$(found_at b "$genid")"
check "the rest of that page is what it was" only_genid_differs "$old_at"
told() { events=$(serial "$1" | tr -d '\r' | sed -n 's/^guest: generation events: //p' | tail -n 1) && [ "${events:-0}" -gt "$2" ]; }
told a -1 || true
events_before=$events
check "no event before the failover ($events_before)" test "$events_before" = 0
(await 20 "the event" told b 0) && rc=0 || rc=1
told b -1 || true
check "the guest got the event of a new generation ID: $events" test $rc = 0 -a "$events" = 1
check "its next start has the same one" test "$(genid_of b --inactive)" = "$new"
passes=$(last_pass b)
await 60 "two passes of the proof" passes_beyond b $((passes + 2))
check "the guest's proof holds $(broken b)" test -z "$(broken b)"
[ $failures = 0 ]
