# Runs in the guest, started by its systemd: what becomes of the guard when the daemon is stopped, killed, or out of memory.
folder=/run/understudy-test
failed=0
check() { # sentence, command...
  local sentence=$1
  shift
  if "$@"; then echo "ok  $sentence"; else
    failed=$((failed + 1))
    echo "not ok  $sentence"
  fi
}
await() { # seconds, command...
  local tries=$(($1 * 5))
  shift
  until "$@" 2>/dev/null; do
    tries=$((tries - 1))
    [ $tries -gt 0 ] || return 1
    sleep 0.2
  done
}
finish() {
  [ $failed = 0 ] || { cat $folder/service.log $folder/guard.log; systemctl --no-pager status understudyd; }
  echo "resources: $failed failed"
  systemctl --no-block poweroff
  exit
}
daemon() { systemctl show -p MainPID --value understudyd; }
group() { sed 's/^0:://' "/proc/$1/cgroup"; }
said() { [ "$(grep -c "$1" $folder/service.log)" -ge "$2" ]; }
guard_lives() { [ -d "/proc/$guard" ] && grep -qa guard.Guard "/proc/$guard/cmdline"; }
has_daemon() { [ "$(daemon)" != 0 ] && [ "$(daemon)" != "$1" ]; }

echo "systemd $(systemctl --version | sed -n '1s/systemd \([0-9]*\).*/\1/p'), kernel $(uname -r), $(sed -n 's/^MemTotal: *//p' /proc/meminfo)"
mkdir -p $folder
systemd-run --quiet --unit=guarded --property=DefaultDependencies=no --property=OOMScoreAdjust=-950 sleep 100000
guarded=$(systemctl show -p MainPID --value guarded)
echo "GUARDED=$guarded" >$folder/environment
systemctl start understudyd; sleep 8; cat $folder/service.log $folder/guard.log; systemctl --no-pager show -p ExecMainStatus -p NRestarts understudyd
await 60 said 'started a guard' 1 || { check "the service starts a guard" false; finish; }
guard=$(pgrep -f org.understudy.guard.Guard | head -n 1)
first=$(daemon)
check "the daemon's control group is $(group "$first")" grep -q 'understudyd.service$' <<<"$(group "$first")"
check "the guard has one of its own: $(group "$guard")" grep -q 'understudy-guard-.*\.scope$' <<<"$(group "$guard")"
check "oom_score_adj of daemon and guard: $(cat "/proc/$first/oom_score_adj") $(cat "/proc/$guard/oom_score_adj")" \
  test "$(cat "/proc/$first/oom_score_adj") $(cat "/proc/$guard/oom_score_adj")" = "-500 -900"
check "the guard is bounded to $(cat "/sys/fs/cgroup$(group "$guard")/memory.max") bytes, takes $(cat "/sys/fs/cgroup$(group "$guard")/memory.current")" \
  test "$(cat "/sys/fs/cgroup$(group "$guard")/memory.max")" = 134217728
check "the guard's memory is locked: $(sed -n 's/^VmLck:[[:space:]]*//p' "/proc/$guard/status")" grep -q '^VmLck:.*[1-9]' "/proc/$guard/status"

touch $folder/eat
await 60 has_daemon "$first" && rc=0 || rc=1
check "a daemon that takes more than its share is killed and started again: $(systemctl show -p Result -p NRestarts understudyd | tr '\n' ' ')" test $rc = 0
await 60 said 'attached to the guard' 1 && rc=0 || rc=1
check "the guard outlives that, and the new daemon attaches to it" test $rc = 0
check "it is the same guard" guard_lives

head -c 3G /dev/zero | tail -c 3G >/dev/null 2>&1
check "a host out of memory takes neither guard nor daemon nor the guarded process" test -d "/proc/$(daemon)" -a -d "/proc/$guarded" -a -d "/proc/$guard"

second=$(daemon)
systemctl kill --kill-whom=all --signal=KILL understudyd
await 60 has_daemon "$second" && rc=0 || rc=1
check "systemctl kill of the whole service leaves the guard, and the daemon comes back" test $rc = 0
await 60 said 'attached to the guard' 2 && rc=0 || rc=1
check "and attaches to it" test $rc = 0
systemctl stop understudyd
check "systemctl stop leaves the guard" guard_lives
systemctl start understudyd; sleep 8; cat $folder/service.log $folder/guard.log; systemctl --no-pager show -p ExecMainStatus -p NRestarts understudyd
await 60 said 'attached to the guard' 3 && rc=0 || rc=1
check "systemctl start finds it again" test $rc = 0
touch $folder/finish
gone() { ! guard_lives; }
await 60 gone && rc=0 || rc=1
check "the guard ends with the protection" test $rc = 0
scopes() { [ "$(systemctl list-units --all --no-legend 'understudy-guard-*' | wc -l)" = 0 ]; }
await 20 scopes && rc=0 || rc=1
check "its control group is gone" test $rc = 0
finish
