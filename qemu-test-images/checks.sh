# shellcheck shell=bash
# Cases that print "ok NAME" or "not ok NAME: what was seen", and "N passed, M failed" at the end. Source it after bed.sh.
passed=0 failed=0
only=${1:-} # an expression for the names of cases

finish() {
  rc=$?
  trap - EXIT
  if [ "$failed" -gt 0 ] || [ $rc -ne 0 ]; then
    for host in a b; do
      say "--- the daemon on $host"
      tail -n "${LOG_LINES:-40}" "$work/$host.log" 2>/dev/null || true
    done
  fi
  bed_down || rc=1
  [ $rc -eq 0 ] || [ "$failed" -gt 0 ] || say "stopped early"
  say "$passed passed, $failed failed"
  [ "$failed" -eq 0 ] || rc=1
  exit $rc
}
trap finish EXIT
trap 'exit 130' INT TERM

# A case is a function that ends with 0, or says on its last line what it saw.
check() { # name, command...
  local name=$1 seen rc began=$SECONDS
  shift
  [[ $name =~ $only ]] || return 0
  set +e
  seen=$(
    set -e
    "$@" 2>&1
  )
  rc=$?
  set -e
  if [ $rc -eq 0 ]; then
    passed=$((passed + 1))
    say "ok  $name, $((SECONDS - began)) s${seen:+ ($(tail -n 1 <<<"$seen"))}"
  else
    failed=$((failed + 1))
    say "not ok  $name, $((SECONDS - began)) s: $(tail -n 1 <<<"$seen")"
  fi
}
