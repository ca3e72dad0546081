# Runs in the guest, as root: a systemd in a process namespace of its own, which starts judge.sh.
box=/sys/fs/cgroup/box
echo '+memory +pids +cpu +io' >/sys/fs/cgroup/cgroup.subtree_control
mkdir -p $box
echo $$ >$box/cgroup.procs
units=/etc/systemd/system
mkdir -p $units/understudyd.service.d /opt/understudy
cp -r lib tests /opt/understudy/
cp understudyd.service $units/
# The daemon's place is taken by one that can be told to eat memory; little of it, as this host is small.
cat >$units/understudyd.service.d/test.conf <<'UNIT'
[Unit]
Wants=
After=
DefaultDependencies=no
[Service]
ExecStart=
ExecStart=/usr/bin/java -Xmx32m -XX:MaxDirectMemorySize=4g -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp /opt/understudy/tests:/opt/understudy/lib/* org.understudy.daemon.GuardedService /run/understudy-test ${GUARDED}
EnvironmentFile=/run/understudy-test/environment
MemoryMax=200M
StandardOutput=file:/run/understudy-test/service.log
StandardError=file:/run/understudy-test/service.log
UNIT
# Nothing else of the system is started.
cat >$units/judge.service <<UNIT
[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
ExecStart=/bin/bash $PWD/judge.sh
StandardOutput=tty
StandardError=tty
TTYPath=/dev/console
UNIT
rm -f $units/*.wants/*
echo "resources: starting systemd"
container=other exec /usr/bin/unshare --pid --fork --mount --mount-proc --cgroup --kill-child /bin/bash -c '
  mount -t tmpfs run /run
  umount -l /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup
  exec /lib/systemd/systemd --unit=judge.service --show-status=no --log-level=warning --log-target=console'
