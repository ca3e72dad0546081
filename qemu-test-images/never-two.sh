#!/usr/bin/env bash
# A guest never runs on two hosts: a fence that fails, hangs or lies starts nothing; a host that comes back does not start what another
# one has taken over, whoever asks; libvirt's autostart is handed over and given back; a host is chosen anew only by name.
# Prints "ok NAME" or "not ok NAME: what was seen" for each case and "N passed, M failed" at the end. Each case needs the one before.
set -euo pipefail
work=$(mktemp -d /tmp/us-never.XXXX)
domain=proof interval_ms=300 fence_timeout_ms=4000 start_unheard=refuse guard_net=10.78.0
# shellcheck source=bed.sh
. "$(dirname "$0")/bed.sh"
passed=0 failed=0

finish() {
  rc=$?
  trap - EXIT
  if [ "$failed" -gt 0 ] || [ $rc -ne 0 ]; then
    for host in a b; do
      say "--- host $host"
      tail -n "${CASES_LOG_LINES:-40}" "$work/$host.log" 2>/dev/null || true
      cat "$work/$host-us/state/hook.log" 2>/dev/null || true
    done
  fi
  bed_down || rc=1
  say "$passed passed, $failed failed"
  [ "$failed" -eq 0 ] || rc=1
  exit $rc
}
trap finish EXIT
trap 'exit 130' INT TERM

check() { # name, command...
  local name=$1 seen rc
  shift
  set +e
  seen=$(
    set -e
    "$@" 2>&1
  )
  rc=$?
  set -e
  if [ $rc -eq 0 ]; then
    passed=$((passed + 1))
    say "ok  $name${seen:+ ($(tail -n 1 <<<"$seen"))}"
  else
    failed=$((failed + 1))
    say "not ok  $name: $(tail -n 1 <<<"$seen")"
    exit 1 # the later cases would tell nothing
  fi
}

state_on() { virsh_on "$1" domstate $domain 2>/dev/null | head -n 1; }
cable() { # down|up
  "$here/two-hosts.sh" link "$work" "$1"
  "$here/two-hosts.sh" second "$work" "$1"
}
autostarts() { virsh_on "$1" dominfo $domain | grep -q '^Autostart: *enable'; }
does_not_autostart() { ! autostarts "$1"; }
role() { sed -n 's/^ *"role" : "\(.*\)",$/\1/p' "$work/$1-us/state/domains/"*.json; }
has_role() { [ "$(role "$1")" = "$2" ]; }
told() { grep -qE "EventLog: $domain: .*($2)" "$work/$1.log"; }
protect() { # from, to
  us "$1" protect $domain --standby "$2" --fast 50% >"$work/out" 2>"$work/err" || fail "protect: $(cat "$work/err")"
  await 60 "protection on $1" is "$1" state PROTECTED
  qemu_pid "$1" >"$work/$1.qemu"
}
counts_since() { serial "$1" | tail -c "+$(($2 + 1))" | tr -d '\r' | grep -q '^proof [0-9]* ok'; }
counting() { # host: the guest runs there and goes on; it may have to boot first, on a machine with much else to do
  await 180 "the guest counting on $1" counts_since "$1" "$(serial "$1" | wc -c)"
}
runs_only_on() { # host
  local other=b
  [ "$1" = a ] || other=a
  [ "$(state_on "$1")" = running ] || fail "the guest is $(state_on "$1") on $1"
  case $(state_on $other) in running) fail "the guest runs on $other, too" ;; esac
}
# "virsh start" is refused in one sentence, within a second of the hook.
refuses() { # host, pattern
  local from
  from=$(now_ms)
  if virsh_on "$1" start $domain >"$work/out" 2>"$work/err"; then fail "virsh start on $1 went through"; fi
  from=$(($(now_ms) - from))
  grep -qE "understudy: .*($2)" "$work/err" || fail "no sentence of ours with \"$2\": $(tr '\n' '|' <"$work/err")"
  [ "$(state_on "$1")" = "shut off" ] || fail "the domain is $(state_on "$1") on $1 after a refused start"
  say "$(sed -n 's/.*understudy: //p' "$work/err" | head -n 1); virsh took $from ms"
}

# A whole host: QEMU, guard, daemon, libvirt; nothing volatile survives.
host_dies() {
  local pid net
  net=$(readlink "/proc/$(cat "$work/$1/anchor")/ns/net")
  for pid in $(pgrep -f "$work/$1|qemu-system|libvirtd|virtlogd" || true); do
    [ "$pid" != "$(cat "$work/$1/anchor")" ] && [ "$(readlink "/proc/$pid/ns/net")" = "$net" ] || continue
    tr '\0' ' ' <"/proc/$pid/cmdline" | grep -q two-hosts.sh || kill -9 "$pid" 2>/dev/null || true
  done
  rm -rf "$work/$1/run/"* "$work/$1-us/run"
}
host_boots() {
  on "$1" setsid virtlogd >>"$work/$1/host.log" 2>&1 </dev/null &
  on "$1" setsid libvirtd --listen >>"$work/$1/host.log" 2>&1 </dev/null &
  await 30 "libvirtd on $1" virsh_on "$1" list >/dev/null 2>&1
  daemon_up "$1"
}

autostart_is_taken() {
  virsh_on a autostart $domain >/dev/null
  protect a b
  does_not_autostart a || fail "libvirt still starts the guest with host a"
  counting a
}

# Both cables are cut, both hosts live.
starts_nothing() { # what the sentence has to say
  cable down
  await 20 "the end of the fence, the standby is $(field b state): $(field b reason)" is b state FENCE_FAILED
  sleep 1
  [ "$(state_on b)" = paused ] || fail "the standby is $(state_on b) on b"
  runs_only_on a
  us b status $domain --json | sed -n 's/^ *"reason" : "\(.*\)",$/\1/p' | head -n 1 >"$work/reason"
  grep -qE "$1" "$work/reason" || fail "the status does not say \"$1\": $(cat "$work/reason")"
  grep -q "understudy failover $domain --force" "$work/reason" || fail "the status does not say what to do: $(cat "$work/reason")"
  told b 'FENCE_FAILED: .*nothing was started' || fail "the log says nothing"
  cable up
  await 60 "protection after the cut" is a state PROTECTED
  await 20 "the standby following again" is b state FOLLOWING
  runs_only_on a
  has_role a primary && has_role b standby || fail "roles are $(role a) and $(role b)"
  cat "$work/reason"
}
fence_fails() {
  write_fence b a broken
  starts_nothing 'does not answer'
}
fence_hangs() {
  printf '#!/bin/sh\necho waiting for the power switch\nsleep 1000\n' >"$work/b-fence"
  starts_nothing 'did not end within 4000 ms'
  ! pgrep -f "$work/b-fence" >/dev/null || fail "the fence script still runs"
}
fence_lies() {
  # shellcheck disable=SC2016
  printf '#!/bin/sh\n[ "$1" = off ] || echo on\n' >"$work/b-fence"
  starts_nothing "printed 'on', expected 'off'"
  write_fence b a works
}
one_cable() {
  "$here/two-hosts.sh" link "$work" down
  await 20 "a degraded standby" is b state DEGRADED
  sleep 2
  is b state DEGRADED || fail "the standby is $(field b state)"
  field b reason
  "$here/two-hosts.sh" link "$work" up
  await 20 "the standby following again" is b state FOLLOWING
  await 60 "protection after the cut" is a state PROTECTED
  runs_only_on a
}

taken_over() {
  host_dies a
  await 30 "the guest on b" is b state RUNNING
  counting b
  await 20 "libvirt's autostart on b" autostarts b
  has_role b owner || fail "host b is $(role b)"
  field b reason
}
says_claim() { us a status $domain --json | grep -q "understudy claim $domain --force"; }
returns_without_a_word() {
  cable down
  host_boots a
  sleep 5
  [ "$(state_on a)" = "shut off" ] || fail "the guest is $(state_on a) on a"
  does_not_autostart a || fail "libvirt starts the guest with host a"
  is a state WAITING || fail "host a is $(field a state)"
  await 20 "the status saying what to do" says_claim
  refuses a "nobody can say whether host b has taken over"
}
hears_of_it() {
  cable up
  await 30 "host a hearing of it" is a state ELSEWHERE
  has_role a former || fail "host a is $(role a)"
  refuses a 'host b owns generation 2'
  runs_only_on b
}
does_not_get_it() {
  if us a claim $domain >"$work/out" 2>"$work/err"; then fail "host a got the guest that runs on b"; fi
  grep -q 'running' "$work/err" || fail "$(cat "$work/err")"
  runs_only_on b
  cat "$work/err"
}
without_a_daemon() {
  kill -9 "$(daemon_pid a)"
  refuses a 'host b owns generation 2'
  daemon_up a
}
standby_of_it() {
  protect b a
  does_not_autostart b || fail "libvirt still starts the guest with host b"
  [ "$(state_on a)" = paused ] || fail "the standby is $(state_on a) on a"
  us b unprotect $domain >/dev/null
  await 10 "libvirt's autostart on b" autostarts b
  has_role a former || fail "host a, which has a definition of it, is \"$(role a)\""
  refuses a 'host b owns generation 2'
  protect b a
}
whole_site() { # both hosts lose their power, and autostart was on
  host_dies a
  host_dies b
  host_boots a
  host_boots b
  await 60 "host b starting the guest" told b 'has not taken over: started, as libvirt would'
  await 60 "protection by itself" is b state PROTECTED
  runs_only_on b
  does_not_autostart b || fail "libvirt starts the guest with host b, too"
  qemu_pid b >"$work/b.qemu"
  counting b
}
moves_back() {
  us b switchover $domain >"$work/out" 2>"$work/err" || fail "switchover: $(cat "$work/err")"
  counting a
  await 20 "libvirt's autostart on a" autostarts a
  has_role b former && has_role a owner || fail "roles are $(role a) and $(role b)"
  refuses b 'host a owns generation 3'
}
ends_in_order() {
  protect a b
  virsh_on a destroy $domain >/dev/null
  await 20 "host a settling it" has_role a owner
  await 10 "libvirt's autostart on a" autostarts a
  refuses b 'host a owns generation 3'
}
is_chosen() {
  us b claim $domain >"$work/out" || fail "claim: $(cat "$work/out")"
  refuses a 'host b owns generation 4'
  virsh_on b start $domain >/dev/null || fail "the owner cannot start it"
  runs_only_on b
  cat "$work/out"
}
lone_host() {
  protect b a
  sed -i 's/^start-unheard = .*/start-unheard = allow/' "$work/b.conf"
  us b install-hook >/dev/null
  kill -9 "$(daemon_pid b)"
  virsh_on b destroy $domain >/dev/null
  await 20 "the end of the standby on a" has_role a former
  virsh_on b start $domain >/dev/null || fail "a dead daemon blocks the start"
  grep -q 'WARNING: nobody can say' "$work/b-us/state/hook.log" || fail "the hook's log says nothing"
  daemon_up b
  await 60 "protection on b" is b state PROTECTED
  tail -n 1 "$work/b-us/state/hook.log"
}
no_fence() {
  kill -9 "$(daemon_pid a)"
  sed -i -e 's/^provider = .*/provider = none/' -e '/^exec = /d' "$work/a.conf"
  daemon_up a
  us a doctor >"$work/out" 2>&1 || fail "doctor: $(tail -n 1 "$work/out")"
  grep -q 'warning: fence.provider is none' "$work/out" || fail "the doctor does not warn"
  await 60 "protection on b" is b state PROTECTED
  await 20 "the standby" is a state FOLLOWING
  field a fence | grep -q WARNING || fail "the status does not warn: $(field a fence)"
  host_dies b
  await 30 "the guest on a" is a state RUNNING
  told a 'fence.provider is none: nobody made sure' || fail "the log does not warn"
  counting a
  us a unprotect $domain >/dev/null 2>&1 || true
  host_boots b
  await 20 "host b hearing of it" is b state ELSEWHERE
  us a protect $domain --standby b --fast 50% >"$work/out" 2>"$work/err" || fail "protect: $(cat "$work/err")"
  grep -q 'warning: fence.provider is none on host' "$work/err" || fail "protect does not warn: $(cat "$work/err")"
  cat "$work/err"
}

bed_up
guest_up proof 128 "proof.size=16 io.rate=20"
await 120 "the proof in the guest" ready a
check "protect takes libvirt's autostart over" autostart_is_taken
check "a fence that fails starts nothing" fence_fails
check "a fence that hangs starts nothing" fence_hangs
check "a fence whose status says on starts nothing" fence_lies
check "one cable of two cut: no fence, no failover" one_cable
check "a host that is gone is taken over, autostart too" taken_over
check "it returns and nobody can be asked: not started" returns_without_a_word
check "it hears of the newer generation" hears_of_it
check "it does not get a guest that runs elsewhere" does_not_get_it
check "its daemon is dead: refused all the same" without_a_daemon
check "it stands by; after unprotect its old definition is not started" standby_of_it
check "both hosts were off: the owner starts it, once the other agrees" whole_site
check "after a switchover the old host does not start it" moves_back
check "an orderly end gives autostart back" ends_in_order
check "another host is chosen by claim" is_chosen
check "a dead daemon does not block a lone host" lone_host
check "no fence, chosen by name, is loud" no_fence
