#!/usr/bin/perl
# Watches from outside, in the process table, whether a guest ever runs on two hosts at once:
#   observer.pl UUID ANCHOR-OF-A ANCHOR-OF-B LOG
# 20 times a second: every QEMU of that UUID, which host's network it is in, and how much its vCPU threads have run since the last
# look. LOG gets a line for each change, and "BOTH ..." for each look at which both hosts have one whose vCPUs ran within the last
# four looks. Ends with its parent, or by SIGTERM, and then says how often it looked.
use strict;
use warnings;

# Without Time::HiRes, which perl-base has not. x86-64: clock_gettime is 228.
sub now { my $ts = pack('q2', 0, 0); syscall(228, 0, $ts); my ($s, $ns) = unpack('q2', $ts); return $s + $ns / 1e9 }

my ($uuid, $anchor_a, $anchor_b, $file) = @ARGV;
my $RAN_NS = 2_000_000;     # of vCPU time since the last look: a paused QEMU's threads had 0.97 ms at most
my $STANDS = 4;             # looks without that: it stands. On a busy machine a vCPU that runs may get nothing for a while.
my $SURE_LOOKS = 40;        # looks after which a process that is no QEMU of ours will not become one
my $PF_EXITING = 4;         # linux/sched.h
my %host = (readlink("/proc/$anchor_a/ns/net") => 'a', readlink("/proc/$anchor_b/ns/net") => 'b');
my (%looked, %qemu, $both, $looks, $longest, $last);
my $stop = 0;
$SIG{TERM} = sub { $stop = 1 };
open(my $log, '>>', $file) or die "$file: $!";
select((select($log), $| = 1)[0]);
$both = $looks = $longest = 0;

sub slurp { my $name = shift; open(my $in, '<', $name) or return ''; local $/; my $text = <$in>; return $text // '' }
sub say_at { printf $log "%.3f %s\n", now(), shift }

sub find {
    opendir(my $proc, '/proc') or die "/proc: $!";
    my %there = map { $_ => 1 } grep { /^\d+$/ } readdir $proc;
    delete @looked{grep { !$there{$_} } keys %looked};
    for my $pid (keys %there) {
        next if $qemu{$pid} || ($looked{$pid}++ > $SURE_LOOKS);
        my $line = slurp("/proc/$pid/cmdline");
        next unless $line =~ /qemu-system/ && $line =~ /-uuid\x00\Q$uuid\E\x00/;
        my $in = $host{readlink("/proc/$pid/ns/net") // ''} or next;
        $qemu{$pid} = { host => $in, ns => undef, stood => $STANDS, most => 0 };
        say_at("QEMU $pid appears on $in");
    }
    for my $pid (grep { !$there{$_} } keys %qemu) {
        say_at(sprintf('QEMU %d on %s is gone; while it stood its vCPUs had at most %.2f ms a look', $pid, $qemu{$pid}{host}, $qemu{$pid}{most} / 1e6));
        delete $qemu{$pid};
    }
}

# CPU time of the vCPU threads, undefined when none is left. A thread that is ending executes nothing of the guest any more, however
# long its process stays in the table, and may have to take down the whole memory of its process: it does not count.
sub vcpu_ns {
    my $pid = shift;
    opendir(my $tasks, "/proc/$pid/task") or return undef;
    my $sum;
    for my $tid (grep { /^\d+$/ } readdir $tasks) {
        next unless slurp("/proc/$pid/task/$tid/comm") =~ m{^(?:CPU \d+|ALL CPUs)/};
        my ($state, $flags) = slurp("/proc/$pid/task/$tid/stat") =~ /.*\) (\S)(?: \S+){5} (\d+) /s;
        next if !defined $flags || $flags & $PF_EXITING || $state =~ /[ZX]/;
        $sum = ($sum // 0) + (split / /, slurp("/proc/$pid/task/$tid/schedstat") || '0')[0];
    }
    return $sum;
}

until ($stop || getppid() == 1) {
    my $now = now();
    $longest = $now - $last if defined $last && $now - $last > $longest;
    $last = $now;
    $looks++;
    find();
    my %ran;
    for my $pid (keys %qemu) {
        my $qemu = $qemu{$pid};
        my $ns = vcpu_ns($pid);
        my $delta = defined $ns && defined $qemu->{ns} ? $ns - $qemu->{ns} : 0;
        if (defined $qemu->{ns} && !defined $ns && $qemu->{stood} < $STANDS) {
            say_at("QEMU $pid on $qemu->{host} ends");
            $qemu->{stood} = $STANDS;
        }
        $qemu->{ns} = $ns;
        if ($delta > $RAN_NS) {
            say_at(sprintf('QEMU %d on %s runs, %.1f ms', $pid, $qemu->{host}, $delta / 1e6)) if $qemu->{stood} >= $STANDS;
            $qemu->{stood} = 0;
        } else {
            $qemu->{most} = $delta if $qemu->{stood} >= $STANDS && $delta > $qemu->{most};
            $qemu->{stood}++;
            say_at("QEMU $pid on $qemu->{host} stands") if $qemu->{stood} == $STANDS;
        }
        $ran{$qemu->{host}} = sprintf('QEMU %d on %s %d looks ago', $pid, $qemu->{host}, $qemu->{stood}) if $qemu->{stood} < $STANDS;
    }
    if ($ran{a} && $ran{b}) {
        $both++;
        say_at("BOTH ran: $ran{a}, $ran{b}");
    }
    my $left = $now + 0.05 - now();
    select(undef, undef, undef, $left) if $left > 0;
}
say_at(sprintf('looked %d times, at most %.0f ms apart, both ran %d times', $looks, $longest * 1000, $both));
