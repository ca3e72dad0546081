# shellcheck shell=bash disable=SC2154,SC2034
# What soak.sh and faults.sh share: a guest that proves itself on host $p, its standby on host $s, and what has to follow a kill.
# Source it after bed.sh. Functions that return 1 leave the reason in $why.

draw() { drawn=$(($1 + (RANDOM * 32768 + RANDOM) % ($2 - $1 + 1))); }
nap_ms() { sleep "$(($1 / 1000)).$(printf %03d $(($1 % 1000)))"; }
other() { if [ "$1" = a ]; then echo b; else echo a; fi; }
alive() { kill -0 "$1" 2>/dev/null; }
gone() { ! alive "$1"; }
try() { why=$2 && (await "$@"); } # await that can be survived

# What a host's serial port has said beyond a number of bytes.
said() { serial "$1" | tail -c +$(($2 + 1)) | tr -d '\r'; }
said_bytes() { serial "$1" | wc -c; }
counted_since() { said "$1" "$2" | sed -n 's/^proof \([0-9]*\) ok [0-9.]* pass=.*/\1/p'; }
heartbeat_since() { [ -n "$(counted_since "$1" "$2" | head -n 1)" ]; }
pass_since() { said "$1" "$2" | sed -n 's/^proof .* pass=\([0-9]*\)$/\1/p' | "$3" -n 1; }

# The pass that a resume or a kill fell into, and two whole ones.
proved_since() { # host, bytes of its serial port before
  local first last
  first=$(pass_since "$1" "$2" head) last=$(pass_since "$1" "$2" tail)
  [ -n "$first" ] && [ "$last" -ge $((first + 3)) ]
}
proves() { # host, bytes
  try 60 "two passes of the proof on $1" proved_since "$1" "$2" || return 1
  why=$(said "$1" "$2" | grep -aE 'FAILED|Kernel panic' | head -n 1)
  [ -z "$why" ]
}

# Neither the guest's counter nor its clock goes back.
rises() { # host, bytes
  why=$(said "$1" "$2" | sed -n 's/^proof \([0-9]*\) ok \([0-9.]*\) pass=.*/\1 \2/p' |
    awk '$1 < last || $2 < clock { print "the guest went from " last " at " clock " s back to " $1 " at " $2 " s"; exit 1 }
      { last = $1; clock = $2 }')
}

state_of() { virsh_on "$1" domstate "$domain" 2>/dev/null | head -n 1; }
# The guest runs on exactly this host, whoever is asked: libvirt and the process table. In the pause of an epoch libvirt says
# "paused", so it may be asked again; that it runs twice is never forgiven.
runs_only_on() {
  local here_state there_state running tries
  for tries in 1 2 3 4 5 6; do
    here_state=$(state_of "$1") there_state=$(state_of "$(other "$1")")
    running=$(pgrep -fc "qemu-system.*-uuid $uuid" || true)
    case "$here_state/$there_state/$running" in
    running/paused/2 | running/shut\ off/1 | running//1) return 0 ;;
    running/running/*) break ;;
    esac
    nap_ms 170
  done
  why="the guest is \"$here_state\" on $1, \"$there_state\" on $(other "$1"), in $running processes"
  say "$why"
  return 1
}

# The last state that a daemon told, from its log: asking it takes a Java process each time.
last_state() { sed -n "s/.* EventLog: $domain: \([A-Z_]*\)\(:.*\)\?$/\1/p; s/.* EventLog: $domain: standby of host . is armed.*/FOLLOWING/p" "$work/$1.log" | tail -n 1; }
is_protected() { [ "$(last_state "$p")" = PROTECTED ] && [ "$(last_state "$s")" = FOLLOWING ]; }
committed() { field "$s" committed; }
committed_beyond() { [ "$(committed || echo 0)" -gt "$1" ] 2>/dev/null; }
protected_again() { # a new epoch, and everything as it should be
  try 60 "protection by $s" is_protected || return 1
  local before
  before=$(committed)
  try 60 "an epoch beyond $before on $s" committed_beyond "$before" && is_protected
}
protect() { # the guest runs on $p
  local tries
  for tries in 1 2 3; do
    why="understudy protect on $p"
    us "$p" protect "$domain" --standby "$s" --fast 25% --interval "${interval_ms}ms" >"$work/protect.out" 2>&1 && return 0
    ! grep -q 'is protected already' "$work/protect.out" || return 0
    say "protect, try $tries: $(tail -n 1 "$work/protect.out")"
    sleep 1
  done
  return 1
}

new_bed() {
  p=a s=b
  bed_up
  vcpus=2 guest_up proof "$memory_mib" "proof.size=48 proof.check=96 proof.rate=8"
  uuid=$(virsh_on a domuuid "$domain" | head -n 1)
  await 120 "the proof in the guest" ready a
}

# --- processes

in_host() { [ "$(readlink "/proc/$2/ns/net")" = "$(readlink "/proc/$(cat "$work/$1/anchor")/ns/net")" ]; }
libvirtd_pid() { # host
  local pid
  for pid in $(pgrep -x libvirtd); do if in_host "$1" "$pid"; then echo "$pid"; fi; done | head -n 1
}
libvirtd_up() { # host
  on "$1" setsid libvirtd --listen >>"$work/$1/host.log" 2>&1 </dev/null &
  try 30 "libvirtd on $1" libvirtd_answers "$1"
}
libvirtd_answers() { virsh_on "$1" list >/dev/null 2>&1; }
guard_pid() { pgrep -f "org.understudy.guard.Guard $work/$1-us" | tail -n 1; }

# What is to happen at a point of org.understudy.fault.FaultPoint in a process of a host, once.
plan() { # host, point, kill|stop|stall, process
  rm -f "$work/$1.faults.struck"
  echo "$2 $3 $4" >"$work/$1.faults.new"
  mv "$work/$1.faults.new" "$work/$1.faults"
}
struck() { [ -e "$work/$1.faults.struck" ]; }

# --- what a kill leads to

promoted() { awk '/PROMOTING: /{whole=0} /RUNNING: epoch|QEMU is complete/{whole=1} END{exit !whole}' "$work/$s.log"; }
taken_over() { # the other host goes on by itself
  try 40 "the guest's heartbeat on $s" heartbeat_since "$s" "$s_bytes" || return 1
  heartbeat_ms=$(($(now_ms) - killed_ms))
  count_after=$(counted_since "$s" "$s_bytes" | head -n 1)
  qemu_pid "$s" >"$work/$s.qemu"
  runs_only_on "$s" || return 1
  proves "$s" "$s_bytes" || return 1
  try 20 "the end of the promotion on $s" promoted || return 1
  epoch=$(sed -n 's/.*PROMOTING: epoch //p' "$work/$s.log" | tail -n 1)
  runs_only_on "$s" || return 1
  alive "$p_daemon" || (daemon_up "$p") || { why="the daemon on $p"; return 1; }
  p=$s s=$(other "$p")
  protect && protected_again && runs_only_on "$p"
}

goes_on() { # nothing happens to the guest, and it is protected again
  local bytes
  bytes=$(said_bytes "$p")
  protected_again || return 1
  alive "$p_qemu" || { why="QEMU $p_qemu on $p ended"; return 1; }
  proves "$p" "$bytes" && runs_only_on "$p" || return 1
  count_after=$(last_count "$p")
  epoch=$(committed)
}
