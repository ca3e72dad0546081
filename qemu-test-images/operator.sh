#!/usr/bin/env bash
# What an operator may do to an armed standby's domain through libvirt, while nobody has told them not to. After each act the
# primary's QEMU is killed at once, and the guest goes on with its proof whole: in the same QEMU where the act left no trace, in a new
# one where it did. The guest has no disk, so that no image tells of a resume. Prints "ok NAME" or "not ok NAME: what was seen".
#
#   operator.sh [EXPRESSION]   all cases, or those whose names match
set -euo pipefail
work=$(mktemp -d /tmp/us-operator.XXXX)
domain=proof
interval_ms=300
# shellcheck source=bed.sh
. "$(dirname "$0")/bed.sh"
# shellcheck source=checks.sh
. "$here/checks.sh"

# Where the guest runs, and where its standby is; a failover swaps them. In a file, for a case runs in a subshell.
run_on() { cat "$work/runs-on"; }
stand_on() { if [ "$(run_on)" = a ]; then echo b; else echo a; fi; }
v() { virsh_on "$(stand_on)" "$@"; }
state_on() { virsh_on "$1" domstate $domain 2>/dev/null || echo none; }
off() { case $(state_on "$1") in "shut off" | none) ;; *) return 1 ;; esac; }

diskless_guest() {
  local images xml=$work/$domain.xml ports=""
  images=$("$here/build-guests.sh")
  for number in 1 2 3 4 5 6 7; do ports+="<controller type='pci' index='$number' model='pcie-root-port'/>"; done
  sed -e "/<disk /,/<\/disk>/d; s|@NAME@|$domain|g; s|@UUID@|$(cat /proc/sys/kernel/random/uuid)|; s|@MEMORY_MIB@|128|; s|@VCPUS@|1|" \
    -e "s|@MACHINE@|pc-q35-7.2|; s|@FIRMWARE@||; s|@EMULATOR@|/usr/bin/qemu-system-x86_64|; s|@MAC@|52:54:00:77:00:64|" \
    -e "s|@VIDEO@|<video><model type='vga'/></video>$ports<disk type='file' device='cdrom'><target dev='sda' bus='sata'/></disk>|" \
    -e "s|@KERNEL@|$images/vmlinuz|; s|@INITRD@|$images/proof.initrd|" \
    -e "s|@KERNEL_WORDS@|console=ttyS0 quiet net=1 net.addr=10.77.0.100/24 net.peer=10.77.0.1 proof.size=16 proof.check=64|" \
    "$here/src/main/resources/org/understudy/testbed/domain.xml" >"$xml"
  for host in a b; do mkdir -p "$work/$host/lib/serial"; done
  virsh_on a define "$xml" >/dev/null
  virsh_on a start "$domain" >/dev/null
  echo a >"$work/runs-on"
}

log_lines() { wc -l <"$work/$1.log"; }
logged() { tail -n "+$(($2 + 1))" "$work/$1.log" | grep -E "$3"; } # host, lines before, pattern
said() { serial "$1" | tail -c "+$(($2 + 1))" | tr -d '\r'; }     # host, bytes before
pass_since() { said "$1" "$2" | sed -n 's/^proof .* pass=\([0-9]*\)$/\1/p' | "$3" -n 1; }
proved_since() { # the pass that the resume fell into, and two whole ones
  local first last
  first=$(pass_since "$1" "$2" head) last=$(pass_since "$1" "$2" tail)
  [ -n "$first" ] && [ "$last" -ge $((first + 3)) ]
}
proves() { # host, bytes of its serial port before
  local seen
  await 60 "two passes of the proof on $1; its daemon: $(tail -n 1 "$work/$1.log")" proved_since "$1" "$2"
  seen=$(said "$1" "$2" | grep -aE 'FAILED|Kernel panic' | head -n 1 || true)
  [ -z "$seen" ] || fail "the guest's proof is broken: $seen"
}
committed_beyond() { [ "$(field "$(stand_on)" committed || echo 0)" -gt "$1" ] 2>/dev/null; }
protect() {
  local p
  p=$(run_on)
  us "$p" protect $domain --standby "$(stand_on)" --fast 25% >"$work/out" 2>"$work/err" || fail "protect: $(cat "$work/err")"
  touch "$work/protected"
}
new_qemu() { # pid before
  local pid
  pid=$(qemu_pid "$(stand_on)")
  [ -n "$pid" ] && [ "$pid" != "$1" ] && [ -d "/proc/$pid" ]
}

# --- the acts, on the standby's host

refuses() { # pattern, words for virsh: libvirt or QEMU refuses it
  local pattern=$1
  shift
  ! v "$@" >"$work/act" 2>&1 || fail "virsh $* was not refused"
  grep -q "$pattern" "$work/act" || fail "virsh $*: $(cat "$work/act")"
}
does() { v "$@" >"$work/act" 2>&1 || fail "virsh $*: $(cat "$work/act")"; }
screenshot() { does screenshot $domain "$work/act.ppm"; }
dump() { refuses 'waiting for an incoming' dump $domain "$work/act.core"; }
memory_dump() { refuses 'not allowed during incoming' dump --memory-only $domain "$work/act.core"; }
save() { refuses 'waiting for an incoming' save $domain "$work/act.save"; }
pmemsave() { does qemu-monitor-command $domain "{\"execute\":\"pmemsave\",\"arguments\":{\"val\":0,\"size\":134217728,\"filename\":\"$work/act.mem\"}}"; }
screendump() { does qemu-monitor-command $domain "{\"execute\":\"screendump\",\"arguments\":{\"filename\":\"$work/act.ppm\"}}"; }
peek() { does qemu-monitor-command $domain --hmp "xp /4096xg 0x1000000"; }
suspend() { does suspend $domain; }
stop() { does qemu-monitor-command $domain '{"execute":"stop"}'; }
power_off() { refuses 'not running' shutdown $domain; }
setmem() { does setmem $domain 64M --live; }
nmi() { does inject-nmi $domain; }
key() { does send-key $domain KEY_ENTER; }
undefine() { v undefine $domain >"$work/act" 2>&1 || grep -q 'transient' "$work/act" || fail "virsh undefine: $(cat "$work/act")"; }
title() { does desc $domain --live --title standby; }
detach() { does detach-interface $domain bridge --mac 52:54:00:77:00:64 --live; } # asks a guest that does not run
resume() { does resume $domain; }
cont() { does qemu-monitor-command $domain '{"execute":"cont"}'; }
reset() { does reset $domain; }
reboot() { does reboot $domain; }
destroy() { does destroy $domain; }
attach() { does attach-interface $domain bridge br0 --model virtio --live; }
unplug_link() { does domif-setlink $domain 52:54:00:77:00:64 down; }
insert_medium() {
  truncate -s 1M "$work/act.iso"
  does change-media $domain sda "$work/act.iso" --insert --live
}

# --- the cases

acts_and_kill() { # same|another (QEMU), acts...
  local fate=$1 p s qemu lines bytes count act seen
  shift
  [ -e "$work/protected" ] || protect
  p=$(run_on) s=$(stand_on)
  qemu=$(qemu_pid "$s") lines=$(log_lines "$s") bytes=$(serial "$s" | wc -c) count=$(last_count "$p")
  for act in "$@"; do "$act"; done
  kill -9 "$(qemu_pid "$p")"
  rm -f "$work/protected"
  proves "$s" "$bytes"
  echo "$s" >"$work/runs-on"
  [ "$(state_on "$s")" = running ] || fail "domain is $(state_on "$s") on $s"
  off "$p" || fail "domain is $(state_on "$p") on $p"
  seen=$(logged "$s" "$lines" 'started anew|once more with a new one' | head -n 1 | sed 's/.*EventLog: //' || true)
  case $fate in
  same)
    [ -z "$seen" ] || fail "the standby was started anew: $seen"
    [ "$(qemu_pid "$s")" = "$qemu" ] || fail "QEMU is $(qemu_pid "$s"), was $qemu"
    ;;
  another)
    [ -n "$seen" ] || fail "host $s did not say that it started the standby anew"
    [ "$(qemu_pid "$s")" != "$qemu" ] || fail "QEMU $qemu was promoted"
    ;;
  esac
  say "$(said "$s" "$bytes" | sed -n 's/^proof \([0-9]*\) ok.*/\1/p' | head -n 1) after $count${seen:+; $seen}"
}

noticed() { # acts, one after the other; without any failover each is seen and made right
  local s act qemu lines epoch
  [ -e "$work/protected" ] || protect
  s=$(stand_on)
  for act in "$@"; do
    qemu=$(qemu_pid "$s") lines=$(log_lines "$s")
    "$act"
    await 30 "a new standby QEMU after $act" new_qemu "$qemu"
    logged "$s" "$lines" 'started anew' >/dev/null || fail "host $s did not say why it started the standby anew after $act"
    epoch=$(field "$s" committed)
    await 30 "epochs after $act" committed_beyond "$((epoch + 1))"
  done
  [ "$(state_on "$s")" = paused ] || fail "the standby is $(state_on "$s")"
}

keeps_its_memory() { # after setmem of the standby
  [ "$(virsh_on "$(run_on)" dommemstat $domain | sed -n 's/^actual //p')" = 131072 ] || fail "$(virsh_on "$(run_on)" dommemstat $domain | tr '\n' ' ')"
}
powers_off() { # and is not started again, though somebody had rebooted the standby
  local host
  host=$(run_on)
  virsh_on "$host" shutdown $domain >/dev/null
  await 40 "the guest's shutdown on $host" off "$host"
}

bed_up
diskless_guest
await 120 "the proof in the guest" ready a
check "its memory and screen are read" acts_and_kill same screenshot pmemsave screendump peek memory_dump
check "it is dumped" acts_and_kill another dump
check "it is saved" acts_and_kill another save
check "it is suspended, shut down, deflated, interrupted, typed at, undefined, named, its interface detached" \
  acts_and_kill same suspend stop power_off setmem nmi key undefine title detach
check "the guest has all its memory" keeps_its_memory
check "it is resumed" acts_and_kill another resume
check "it is reset" acts_and_kill another reset
check "it is destroyed" acts_and_kill another destroy
check "an interface is attached" acts_and_kill another attach
check "its link is taken down" acts_and_kill another unplug_link
check "acts are noticed without a failover" noticed cont reset dump insert_medium
check "it is rebooted" acts_and_kill another reboot
check "the guest powers off for good" powers_off
