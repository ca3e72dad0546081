#!/usr/bin/env bash
# The main job, shown: a VM with redis under load is protected, its host's QEMU and daemon are killed with SIGKILL, and it goes on,
# by itself, on the other host. Then once more with a fence that fails: nothing may start.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
bin=$here/../libvirt-plugin/target/understudy/bin
work=$(mktemp -d /tmp/understudy-demo.XXXX)
protect_seconds=${DEMO_SECONDS:-20}
memory_mib=${DEMO_MEMORY_MIB:-512}
domain=redis

say() { printf '%s\n' "$*"; }
on() { local host=$1; shift; "$here/two-hosts.sh" exec "$work" "$host" "$@"; }
us() { local host=$1; shift; on "$host" "$bin/understudy" --config "$work/$host.conf" "$@"; }
field() { us "$1" status "$domain" --json | sed -n "s/.*\"$2\" *: *\"\{0,1\}\([^\",}]*\).*/\1/p" | head -n 1; }
fail() { say "demo: $*"; exit 1; }
now_ms() { date +%s%3N; }

finish() {
  rc=$?
  trap - EXIT
  if [ $rc -ne 0 ]; then
    for host in a b; do say "--- last lines of the daemon on $host"; tail -n 15 "$work/$host.log" 2>/dev/null || true; done
  fi
  "$here/two-hosts.sh" down "$work" || rc=1
  rm -rf "$work"
  exit $rc
}
trap finish EXIT
trap 'exit 130' INT TERM

await() { # seconds, what, command...
  local deadline=$(($(date +%s) + $1)) what=$2
  shift 2
  until "$@"; do
    [ "$(date +%s)" -lt "$deadline" ] || fail "waited in vain for $what"
    sleep 0.2
  done
}

configure() { # host, fence script
  mkdir -p "$work/$1"
  cat >"$work/$1.conf" <<EOF
[host]
name = $1
state-dir = $work/$1/state
run-dir = $work/$1/run
listen = 0.0.0.0:16520
guard-listen = 16521
[libvirt]
uri = qemu:///system
[protect]
interval-ms = 1000
fast = 25%
[fence]
provider = exec
exec = $work/$1-fence
timeout-ms = 10000
[tiers]
dir = $work/$1/tiers
EOF
}

# The fence of the demo: host A's power switch. It ends QEMU on A, whatever state it is in, and says so only when it is gone.
write_fence() { # host that fences, host to be fenced, works|broken
  if [ "$3" = broken ]; then
    printf '#!/bin/sh\necho "the power switch of host %s does not answer"\nexit 1\n' "$2" >"$work/$1-fence"
  else
    cat >"$work/$1-fence" <<EOF
#!/bin/sh
# off|status DOMAIN UUID HOST
pids() { for pid in \$(cat "$work/$2/qemu.pids" 2>/dev/null); do [ -d /proc/\$pid ] && grep -qs "\$1" /proc/\$pid/cmdline && echo \$pid; done; }
case \$1 in
off) kill -9 \$(pids "\$3") 2>/dev/null; exit 0 ;;
status) [ -z "\$(pids "\$3")" ] && echo off || echo on ;;
esac
EOF
  fi
  chmod +x "$work/$1-fence"
}

daemon() { # host
  on "$1" setsid "$bin/understudyd" --config "$work/$1.conf" >>"$work/$1.log" 2>&1 </dev/null &
  await 30 "the daemon on $1" us "$1" list >/dev/null 2>&1
}

