#!/usr/bin/env bash
# Hosts that do not fit and a wire that lies. A standby host with another QEMU, machine type or CPU is refused in one sentence, and so
# is a domain or a host that cannot be protected, by protect and by doctor. A bit that flips or a stream that ends within an epoch
# costs that epoch and nothing else. The guest never notices. Prints "ok NAME" or "not ok NAME: what was seen".
#
#   strangers.sh [EXPRESSION]   all cases, or those whose names match
set -euo pipefail
work=$(mktemp -d /tmp/us-strangers.XXXX)
domain=proof
interval_ms=300
# shellcheck source=bed.sh
. "$(dirname "$0")/bed.sh"
# shellcheck source=checks.sh
. "$here/checks.sh"

state_on() { virsh_on "$1" domstate "${2:-$domain}" 2>/dev/null || echo none; }
untouched() { # the same QEMU runs, and nobody stands by or took over
  [ "$(qemu_pid a)" = "$(cat "$work/a.qemu")" ] || fail "QEMU is $(qemu_pid a), was $(cat "$work/a.qemu")"
  [ "$(state_on a)" = running ] || fail "domain is $(state_on a) on a"
  [ "$(state_on b)" = "${1:-none}" ] || fail "domain is $(state_on b) on b"
  [ -z "$(broken a)" ] || fail "the guest's proof is broken: $(broken a)"
}
one_sentence() { # pattern, words for understudy on host a: exit code 1 and one line, which is printed
  local pattern=$1 rc=0
  shift
  us a "$@" >"$work/out" 2>"$work/err" </dev/null || rc=$?
  [ $rc = 1 ] || fail "exit code $rc, expected 1: $(cat "$work/err")"
  [ "$(wc -l <"$work/err")" = 1 ] || fail "more than a line: $(tr '\n' '|' <"$work/err")"
  grep -Eq "^error: .*($pattern)" "$work/err" || fail "the sentence has no \"$pattern\": $(cat "$work/err")"
  sed 's/^error: //' "$work/err"
}

# --- hosts

# QEMU of host b with another name in place of one that it knows: what a different build of it would be.
on_another_qemu() { # name known to QEMU, name of equal length, pattern
  local rc=0
  LC_ALL=C sed "s/$1/$2/g" /usr/bin/qemu-system-x86_64 >"$work/qemu-of-b"
  chmod 755 "$work/qemu-of-b"
  on b mount --bind "$work/qemu-of-b" /usr/bin/qemu-system-x86_64
  (one_sentence "$3" protect $domain --standby b && untouched) || rc=1
  on b umount /usr/bin/qemu-system-x86_64
  return $rc
}
other_machine() { on_another_qemu pc-q35-7.2 pc-q35-7.x 'cannot run machine pc-q35-7.2'; }
other_cpu() { on_another_qemu qemu64 qemu6x 'no CPU model qemu64'; }
other_version() { on_another_qemu 'deb12u' 'deb12v' 'the primary runs QEMU 7.2.* is 7.2.*install the same version'; }

doctor_refuses() { # pattern, words
  local pattern=$1 seen
  shift
  one_sentence 'stands in the way' doctor "$@" >/dev/null
  seen=$(grep -E "^refused: .*($pattern)" "$work/out") || fail "doctor does not say \"$pattern\": $(tr '\n' '|' <"$work/out")"
  say "${seen#refused: }"
}
host_device() { # a mediated device, which is not there: the domain is defined only
  cat >"$work/passed.xml" <<XML
<domain type='qemu'><name>passed</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os>
  <devices><hostdev mode='subsystem' type='mdev' model='vfio-pci'><source>
    <address uuid='c2177883-f1bb-47f0-914d-32a22e3a8804'/></source></hostdev></devices>
</domain>
XML
  virsh_on a define "$work/passed.xml" >/dev/null
  one_sentence 'shut off.*start it first' protect passed --standby b
  doctor_refuses 'mdev device of the host' passed
  virsh_on a undefine passed >"$work/out" 2>&1 || fail "undefine: $(tr '\n' ' ' <"$work/out")"
}
ivshmem() { # plugged in through the monitor, which libvirt's XML does not show
  monitor() { virsh_on a qemu-monitor-command $domain "$1" >/dev/null; }
  monitor '{"execute":"object-add","arguments":{"qom-type":"memory-backend-file","id":"shared","size":4096,"share":true,"mem-path":"/dev/shm/us-'$$'"}}'
  rm -f "/dev/shm/us-$$"
  doctor_refuses 'memory-backend-file' $domain >/dev/null
  one_sentence 'memory-backend-file .shared. that libvirt does not show' protect $domain --standby b
  monitor '{"execute":"object-del","arguments":{"id":"shared"}}'
  untouched
}
lock_manager() {
  echo 'lock_manager = "lockd"' >>"$work/a/etc/qemu.conf"
  doctor_refuses 'lock manager lockd' $domain >/dev/null
  one_sentence 'lock manager lockd' protect $domain --standby b
  sed -i '/^lock_manager/d' "$work/a/etc/qemu.conf"
  untouched
}

# --- the wire

epoch_beyond() { is a state PROTECTED && [ "$(field a epoch || echo 0)" -gt "$1" ] 2>/dev/null; }
log_lines() { wc -l <"$work/$1.log"; }
logged() { tail -n "+$(($2 + 1))" "$work/$1.log" | grep -E "$3" | head -n 1 | sed 's/.*EventLog: //'; } # host, lines before, pattern
protected_over_the_wire() {
  on b java -Xmx64m -cp "$here/target/classes" org.understudy.testbed.TamperingRelay 10.77.0.2 17000 10.77.0.2 16520 "$work/order" \
    >"$work/relay.log" 2>&1 </dev/null &
  us a untrust b >/dev/null
  sleep 1
  us a trust b 10.77.0.2:17000 --key "$(us b identity | sed -n 's/.*\(ecdsa-[a-z0-9-]* [A-Za-z0-9+\/=]*\).*/\1/p' | head -n 1)" >/dev/null
  us a protect $domain --standby b --fast 25% >"$work/out" 2>"$work/err" || fail "protect: $(cat "$work/err")"
  await 30 "epochs" epoch_beyond 2
  untouched paused
}
order_taken() { [ ! -e "$work/order" ]; }
tampered() { # order
  local epoch count lines seen
  epoch=$(field a epoch) count=$(last_count a) lines=$(log_lines a)
  echo "$1" >"$work/order.new"
  mv "$work/order.new" "$work/order"
  await 20 "the wire to do it" order_taken
  await 30 "protection again, it is $(field a state)" epoch_beyond "$((epoch + 3))"
  seen=$(logged a "$lines" ' DEGRADED') || fail "host a said nothing of it"
  untouched paused
  ! grep -qE ': (FENC|PROMOTING)' "$work/a.log" "$work/b.log" || fail "somebody took over"
  await 20 "the guest counting" counts_beyond a "$((count + 5))"
  say "$seen"
}
goes_on_from_it() { # what was committed after all of it is whole
  local count passes
  count=$(last_count a)
  kill -9 "$(qemu_pid a)"
  await 40 "the guest counting on b" counts_beyond b 0
  passes=$(last_pass b)
  await 60 "two passes of the proof on b" passes_beyond b "$((${passes:-0} + 2))"
  [ -z "$(broken b)" ] || fail "the guest's proof is broken: $(broken b)"
  say "after $count"
}

bed_up
guest_up proof 128 "proof.size=16 proof.check=64"
await 120 "the proof in the guest" ready a
check "standby host with a QEMU without the machine type" other_machine
check "standby host with a QEMU without the CPU" other_cpu
check "standby host with another version of QEMU" other_version
check "a domain with a device of the host" host_device
check "shared memory plugged in behind libvirt's back" ivshmem
check "a host with a lock manager" lock_manager
check "protection over a wire that can lie" protected_over_the_wire
check "a bit of an epoch flips" tampered "flip to"
check "a stream ends within an epoch" tampered "cut to"
check "a bit of an acknowledgement flips" tampered "flip from"
check "a stream ends within an acknowledgement" tampered "cut from"
check "the guest goes on from what was committed" goes_on_from_it
