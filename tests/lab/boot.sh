#!/bin/sh
# PID 1 of a host of a lab, before entry.sh: a boot ID and a disk of its own, which containers share with their machine.
set -e

cat /proc/sys/kernel/random/uuid >/run/lab-boot-id
mount --bind /run/lab-boot-id /proc/sys/kernel/random/boot_id

image=/var/lib/docker/lab.img
if [ -f "$image" ]; then
    mkdir -p /var/lib/lab /var/lib/lastro /var/lib/docker/volumes
    [ -c /dev/loop-control ] || mknod /dev/loop-control c 10 237
    # Hosts that start together are offered the same free device, and all but one have to ask again. `mount -o loop`
    # would look at the devices of other hosts, which have no node here; they are printed as "/dev/loop9 (lost)".
    attached=
    for _ in $(seq 50); do
        device=$(losetup --find | cut -d' ' -f1)
        [ -b "$device" ] || mknod "$device" b 7 "${device#/dev/loop}"
        if losetup "$device" "$image" 2>/run/lab-disk; then attached=yes && break; fi
        sleep 0.1
    done
    [ "$attached" ] || { cat /run/lab-disk >&2; exit 1; }
    # Without noinit_itable the kernel would write the tables of the whole disk in the background.
    mount -t ext4 -o noinit_itable "$device" /var/lib/lab
    # Detached once it is unmounted, however this host ends.
    losetup --detach "$device"
    mkdir -p /var/lib/lab/lastro /var/lib/lab/volumes
    mount --bind /var/lib/lab/lastro /var/lib/lastro
    mount --bind /var/lib/lab/volumes /var/lib/docker/volumes
fi

exec /usr/local/sbin/lab-entry "$@"
