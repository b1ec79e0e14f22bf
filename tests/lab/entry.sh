#!/bin/sh
# PID 1 of a nested host: what a virtual machine would have, then its init.
set -e

# A container gets its control groups read-only; then limits inside are silently not enforced.
mount -o remount,bind,rw /sys/fs/cgroup 2>/dev/null || true
for group in /sys/fs/cgroup/*/; do
    if mountpoint -q "$group"; then mount -o remount,bind,rw "$group"; fi
done
if [ ! -d /run/systemd ] && [ "$1" != systemd ] && [ -f /sys/fs/cgroup/cgroup.controllers ]; then
    # Version 2 delegates controllers only from a group without processes.
    mkdir -p /sys/fs/cgroup/init
    xargs -rn1 </sys/fs/cgroup/cgroup.procs >/sys/fs/cgroup/init/cgroup.procs 2>/dev/null || true
    sed -e 's/ / +/g' -e 's/^/+/' </sys/fs/cgroup/cgroup.controllers >/sys/fs/cgroup/cgroup.subtree_control
fi
mount --make-rshared /

case "$1" in
    systemd | sysvinit) exec /sbin/init ;;
    none) exec sleep infinity ;;
    *) echo "usage: lab-entry systemd|sysvinit|none" >&2; exit 2 ;;
esac
