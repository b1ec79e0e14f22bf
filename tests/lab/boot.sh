#!/bin/sh
# PID 1 of a host of a lab, before entry.sh: a boot ID and a disk of its own, which containers share with their machine.
set -e

cat /proc/sys/kernel/random/uuid >/run/lab-boot-id
mount --bind /run/lab-boot-id /proc/sys/kernel/random/boot_id

image=/var/lib/docker/lab.img
if [ -f "$image" ]; then
    mkdir -p /var/lib/lab /var/lib/lastro /var/lib/docker/volumes
    [ -c /dev/loop-control ] || mknod /dev/loop-control c 10 237
    # Hosts that start together are offered the same free device, and all but one have to ask again.
    for _ in $(seq 50); do
        device=$(losetup --find)
        [ -b "$device" ] || mknod "$device" b 7 "${device#/dev/loop}"
        # Without noinit_itable the kernel would write the tables of the whole disk in the background.
        ! mount -o "loop=$device,noinit_itable" "$image" /var/lib/lab 2>/run/lab-disk || break
        sleep 0.1
    done
    mountpoint -q /var/lib/lab || { cat /run/lab-disk >&2; exit 1; }
    mkdir -p /var/lib/lab/lastro /var/lib/lab/volumes
    mount --bind /var/lib/lab/lastro /var/lib/lastro
    mount --bind /var/lib/lab/volumes /var/lib/docker/volumes
fi

exec /usr/local/sbin/lab-entry "$@"
