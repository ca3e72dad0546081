#!/usr/bin/env bash
# What clients saw, when the host of a protected guest dies: a client outside enters into a ledger in the guest's RAM over TCP,
# the guest's host dies at a random moment, and on the other host the client asks for all that was acknowledged again.
#   hold.sh --kills N [--control N] [--seed S] [--interval MS]   each kill appends a line to .cache/hold.tsv; with the seed of an
#                                                                interrupted run it goes on behind the last one
#   hold.sh --deaths                                             our own processes die or hang while output is held: the client of
#                                                                a living guest keeps its connections
#   hold.sh --latency SECONDS                                    the client's latency unprotected, protected, and with held output
#                                                                at some intervals; lines in .cache/hold-latency.tsv
# With --hold-output no acknowledged entry may be lost or changed. The control kills come first and go without: there some are, or
# this test could not see it.
set -euo pipefail
work=$(mktemp -d /tmp/us-hold.XXXX)
domain=ledger
# A machine that is busy with other things commits late; what is tested here is not the limit.
# shellcheck disable=SC2034 # bed.sh reads it
protect_lines="hold-limit-ms = 20000"
# shellcheck source=bed.sh
. "$(dirname "$0")/bed.sh"
cache=$here/../.cache
table=$cache/hold.tsv

kinds=(qemu qemu+daemon machine)
kills=0 control=0 latency=0 deaths=0 seed=$((RANDOM * 32768 + RANDOM)) interval_ms=100 hold=hold
while [ $# -gt 0 ]; do
  case $1 in
  --kills) kills=${2:?--kills N} && shift ;;
  --seed) seed=${2:?--seed S} && shift ;;
  --interval) interval_ms=${2:?--interval MS} && shift ;;
  --deaths) deaths=1 ;;
  --latency) latency=${2:?--latency SECONDS} && shift ;;
  --control) control=${2:?--control N} && shift ;;
  *) fail "unknown option $1" ;;
  esac
  shift
done
case $kills$control$latency$deaths in *[!0-9]* | 0000) fail "usage: hold.sh --kills N | --deaths | --latency SECONDS" ;; esac

net=us$(printf %s "$work" | cksum | cut -d ' ' -f 1)
client_pid=
finish() {
  rc=$?
  trap - EXIT
  [ -z "$client_pid" ] || kill "$client_pid" 2>/dev/null || true
  ip netns del "$net-c" 2>/dev/null || true
  bed_down || rc=1
  exit $rc
}
trap finish EXIT
trap 'exit 130' INT TERM

alive() { kill -0 "$1" 2>/dev/null; }
other() { if [ "$1" = a ]; then echo b; else echo a; fi; }
nap_ms() { sleep "$(($1 / 1000)).$(printf %03d $(($1 % 1000)))"; }
try() { why="waited in vain for $2" && (await "$@" >/dev/null); }

# --- the client, on a network of its own behind host b's bridge: host a may die under it

client_net_up() {
  ip netns add "$net-c"
  ip link add outside0 netns "$net-b" type veth peer name eth0 netns "$net-c"
  ip -n "$net-b" link set outside0 master br0 up
  ip -n "$net-c" addr add 10.77.0.50/24 dev eth0
  ip -n "$net-c" link set eth0 up
}
client_up() { # stall in ms
  rm -f "$work/words"
  mkfifo "$work/words"
  : >"$work/client"
  ip netns exec "$net-c" "$images/ledgerclient" 10.77.0.100 4 "$1" <"$work/words" >"$work/client" &
  client_pid=$!
  exec 7>"$work/words"
}
client_down() {
  exec 7>&-
  wait "$client_pid" || true
  client_pid=
}
answers() { wc -l <"$work/client"; }
answered() { [ "$(answers)" -gt "$1" ]; }
ask() { # word, seconds; prints the client's line
  local before
  before=$(answers)
  echo "$1" >&7
  (await "$2" "the client's answer to $1" answered "$before") >/dev/null || return 1
  tail -n 1 "$work/client"
}
word() { sed -n "s/.*\b$1 \([0-9]*\).*/\1/p" <<<"$2"; }
acknowledged() { word acknowledged "$(ask count 5)"; }
has_entered() {
  local n
  n=$(acknowledged) || return 1
  [ "$n" -ge "$1" ]
}

# --- the guest

said() { serial "$1" | tail -c +$(($2 + 1)) | tr -d '\r'; }
heartbeat_since() { said "$1" "$2" | grep -q '^ledger [0-9]* ok'; }
holds_output() { grep -E 'output is held|OUTPUT GOES OUT' "$work/$1.log" | tail -n 1 | grep -q 'output is held'; }
let_go() { grep -c 'OUTPUT GOES OUT UNCOMMITTED' "$work/$1.log" || true; }
promoted() { awk '/PROMOTING: /{whole=0} /RUNNING: epoch|QEMU is complete/{whole=1} END{exit !whole}' "$work/$s.log"; }
in_two() { [ "$(pgrep -fc "qemu-system.*-uuid $uuid")" = "$1" ]; }

protect() { # the guest runs on $p
  local tries option=
  [ "$hold" = plain ] || option=--hold-output
  for tries in 1 2 3 4 5; do
    # shellcheck disable=SC2086 # no option is no word
    us "$p" protect $domain --standby "$s" --fast 25% --interval "${interval_ms}ms" $option >"$work/protect.out" 2>&1 && break
    ! grep -q 'is protected already' "$work/protect.out" || break
    why="protect on $p: $(tail -n 1 "$work/protect.out")"
    [ "$tries" -lt 5 ] || return 1
    sleep 1
  done
  [ "$hold" = plain ] || try 20 "held output on $p" holds_output "$p"
}
new_bed() {
  p=a s=b
  mkdir -p "$work"
  bed_up
  images=$("$here/build-guests.sh")
  guest_io=none vcpus=1 guest_up ledger 96 ""
  uuid=$(virsh_on a domuuid $domain | head -n 1)
  client_net_up
  await 120 "the ledger in the guest" ready a
}

# --- a kill

pids_of() { # host, class
  pgrep -f "org.understudy.$2 .*$work/$1" || true
}
kill_kind() {
  local victims
  victims=$(qemu_pid "$p")
  [ "$1" = qemu ] || victims="$victims $(daemon_pid "$p")"
  [ "$1" != machine ] || victims="$victims $(pids_of "$p" guard.Guard) $(pids_of "$p" output.Holder)"
  killed_ms=$(now_ms)
  # shellcheck disable=SC2086 # process ids
  kill -9 $victims
}
one_kill() { # kind, ms to wait
  local bytes line
  if [ "$hold" = hold ]; then client_up 30000; else client_up 4000; fi
  try 60 "20 acknowledged entries" has_entered 20 || return 1
  bytes=$(serial "$s" | wc -c)
  nap_ms "$2"
  if [ "$hold" = hold ] && ! holds_output "$p"; then why="output is not held on $p" && return 1; fi
  before=$(acknowledged) || { why="the client does not answer"; return 1; }
  kill_kind "$1"
  try 60 "the guest on $s" heartbeat_since "$s" "$bytes" || return 1
  heartbeat_ms=$(($(now_ms) - killed_ms))
  line=$(ask verify 90) || { why="the client got no answers from the guest on $s"; return 1; }
  client_down
  total=$(word acknowledged "$line") lost=$(word lost "$line") changed=$(word changed "$line") twice=$(word twice "$line")
  reconnected=$(word reconnected "$line") gap=$(word gap_ms "$line")
  qemu_pid "$s" >"$work/$s.qemu"
  in_two 1 || { why="$(pgrep -fc "qemu-system.*-uuid $uuid") QEMUs of the guest after the failover"; return 1; }
  try 30 "the end of the promotion on $s" promoted || return 1
  [ "$hold" = plain ] || [ "$lost/$changed/$twice" = 0/0/0 ] || { why="lost $lost, changed $changed, twice $twice"; return 1; }
}
turn_round() {
  [ -n "$(daemon_pid "$p")" ] || (daemon_up "$p") || { why="the daemon on $p"; return 1; }
  p=$s s=$(other "$p")
}
finished() { # kill number
  awk -F'\t' -v s="$seed" -v n="$1" -v m="$hold" -v i="$interval_ms" \
    '$2 == s && $3 == n && $4 == m && $5 == i { found = 1 } END { exit !found }' "$table"
}

keep_logs() {
  local to
  to=$cache/hold-failures/$(date +%Y%m%d-%H%M%S)-seed$seed-kill$1
  mkdir -p "$to"
  for host in a b; do
    cp "$work/$host.log" "$to/$host.daemon.log" 2>/dev/null || true
    serial $host >"$to/$host.serial.log"
    cp "$work/$host-us/state/holders/"*.log "$to/$host.holder.log" 2>/dev/null || true
    cp "$work/$host-us/state/guards/"*.log "$to/$host.guard.log" 2>/dev/null || true
    cp "$work/$host"/log/qemu/*.log "$to/" 2>/dev/null || true
  done
  say "hold: logs are in $to"
}

# What the kills of this seed have shown, with or without held output; sums in "lost" and "failed".
summary() {
  local line
  line=$(awk -F'\t' -v s="$seed" -v m="$1" -v i="$interval_ms" '$2 == s && $4 == m && $5 == i {
      n++; a += $10; l += $12; c += $13; t += $14; r += $15; if ($12 + $13 + $14 > 0) bad++; if ($18 != "ok") f++ }
    END { printf "%d kills, %d acknowledged entries: lost %d , changed %d , acknowledged twice %d , in %d kills; %d connections made anew; failed %d \n",
      n, a, l, c, t, bad, r, f }' "$table")
  say "== seed $seed, $interval_ms ms, $1: $line"
  lost=$(($(word lost "$line") + $(word changed "$line"))) failed=$(word failed "$line")
}
reset_bed() {
  if [ -n "$client_pid" ]; then
    kill "$client_pid" 2>/dev/null || true
    client_down
  fi
  ip netns del "$net-c" 2>/dev/null || true
  bed_down
}

campaign() {
  local fresh=1 number kind wait_ms rc=0 all=$((control + kills))
  RANDOM=$((seed % 32768))
  say "== $all kills, the first $control of them without held output; seed $seed, interval $interval_ms ms"
  [ -s "$table" ] || printf 'time\tseed\tkill\tmode\tinterval_ms\tkind\tdirection\theartbeat_ms\tgap_ms\tacknowledged\tafter_kill\tlost\tchanged\ttwice\treconnected\tlet_go\tload\tresult\n' >"$table"
  for ((number = 1; number <= all; number++)); do
    kind=${kinds[$((RANDOM % 3))]} wait_ms=$((RANDOM % 2000)) hold=hold
    [ "$number" -gt "$control" ] || hold=plain
    ! finished "$number" || continue
    [ $fresh = 0 ] || new_bed
    fresh=0
    total=- lost=- changed=- twice=- reconnected=- gap=- heartbeat_ms=- before=0 result=ok why=
    local from=$p
    { protect && one_kill "$kind" "$wait_ms"; } || result="FAIL: $why"
    printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$(date +%Y-%m-%dT%H:%M:%S)" "$seed" "$number" \
      "$hold" "$interval_ms" "$kind" "$from>$s" "$heartbeat_ms" "$gap" "$total" "$([ "$total" = - ] || echo $((total - before)))" "$lost" \
      "$changed" "$twice" "$reconnected" "$(let_go "$from")" "$(cut -d ' ' -f 1 /proc/loadavg)" "$result" >>"$table"
    say "$(tail -n 1 "$table" | cut -f 3- | tr '\t' ' ')"
    if [ "$result" != ok ] || ! turn_round; then
      [ "$result" != ok ] || say "hold: $why; a new guest goes on"
      keep_logs "$number"
      reset_bed
      fresh=1
    fi
  done
  summary hold
  [ "$failed" = 0 ] || rc=1
  if [ "$control" -gt 0 ]; then
    summary plain
    [ "$lost" -gt 0 ] || { say "hold: nothing was lost without holding output; this test cannot see a loss"; rc=1; }
  fi
  return $rc
}

# --- latency

measure() { # name
  local line
  ask rates 10 >/dev/null
  sleep "$latency"
  line=$(ask rates 10)
  printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$(date +%Y-%m-%dT%H:%M:%S)" "$1" "$(word acknowledged "$line")" "$(word p50_us "$line")" \
    "$(word p99_us "$line")" "$(field a addedP50Ms || true)" "$(field a addedP99Ms || true)" "$(cut -d ' ' -f 1 /proc/loadavg)" |
    tee -a "$cache/hold-latency.tsv"
}
latencies() {
  [ -s "$cache/hold-latency.tsv" ] ||
    printf 'time\twhat\tentries\tclient_p50_us\tclient_p99_us\theld_p50_ms\theld_p99_ms\tload\n' >"$cache/hold-latency.tsv"
  new_bed
  client_up 30000
  try 60 "20 acknowledged entries" has_entered 20 || fail "$why"
  measure unprotected
  for interval_ms in 50 100 200; do
    for hold in plain hold; do
      protect || fail "$why"
      sleep 3
      measure "$hold-$interval_ms"
      us a unprotect $domain >/dev/null
    done
  done
  client_down
}

# --- deaths of ours, with a guest that lives

filters() { # in the guest's QEMU on a
  virsh_on a qemu-monitor-command $domain '{"execute":"qom-list","arguments":{"path":"/objects"}}' | grep -c '"understudy-[0-9a-f]*-out' || true
}
no_filters() { [ "$(filters)" = 0 ]; }
events() { grep -c "$1" "$work/a.log" || true; }
more_events() { [ "$(events "$1")" -gt "$2" ]; }
held_again() { # number of times that it was held before
  try 60 "held output after $case" more_events 'output is held' "$1"
}
goes_on() { # the client gets answers, whoever died
  local n
  n=$(acknowledged) && try 40 "20 more answers after $case" has_entered $((n + 20))
}
deaths() {
  local holds holder case line
  protect_lines="hold-limit-ms = 3000"
  new_bed
  hold=hold
  protect || fail "$why"
  client_up 60000
  try 60 "20 acknowledged entries" has_entered 20 || fail "$why"
  for case in holder-killed holder-stopped daemon-killed daemon-and-holder-killed unprotect; do
    holds=$(events 'output is held') holder=$(pids_of a output.Holder)
    [ "$(filters)" = 1 ] || fail "$(filters) filters before $case"
    case $case in
    holder-killed) kill -9 "$holder" && goes_on && held_again "$holds" ;;
    holder-stopped) kill -STOP "$holder" && goes_on && held_again "$holds" && ! alive "$holder" ;;
    daemon-killed) kill -9 "$(daemon_pid a)" && goes_on && alive "$holder" && (daemon_up a) && held_again "$holds" ;;
    daemon-and-holder-killed)
      kill -9 "$(daemon_pid a)" "$holder" && goes_on && try 20 "the end of the filters" no_filters &&
        (daemon_up a) && held_again "$holds"
      ;;
    unprotect) us a unprotect $domain >/dev/null && no_filters && [ -z "$(pids_of a output.Holder)" ] && goes_on ;;
    esac || fail "$case: ${why:-not as it should be}; $(filters) filters, holder ${holder:-none}, now $(pids_of a output.Holder)"
    goes_on || fail "$why"
    say "ok $case"
  done
  line=$(ask count 10) || fail "the client does not answer"
  [ "$(word reconnected "$line")" = 0 ] || fail "connections did not live on: $line"
  say "$line"
  client_down
}

mkdir -p "$cache"
if [ $deaths = 1 ]; then deaths; elif [ "$latency" -gt 0 ]; then latencies; else campaign; fi
