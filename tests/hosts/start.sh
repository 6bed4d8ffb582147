#!/bin/sh
# Start libvirtd on the state in a directory: `start.sh DIRECTORY`, inside `ip netns exec`, which has already made every
# mount from here on a private affair.
set -e
state=$1

for part in etc:/etc/libvirt lib:/var/lib/libvirt cache:/var/cache/libvirt log:/var/log/libvirt run:/run/libvirt; do
    mkdir -p "${part#*:}"
    mount --bind "$state/${part%%:*}" "${part#*:}"
done

# A /dev/kvm that opens but does not work makes libvirt probe QEMU again at each call, so this host's /dev has none.
# (Another file mounted over it does not help: libvirt only asks whether it may open it.) The former /dev has to go,
# for libvirt moves whatever is mounted below /dev out of the way of each guest, and cannot move what is hidden.
if [ -e /dev/kvm ]; then
    mount -t tmpfs -o mode=0755,nosuid dev "$state/dev"
    cp -a /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty /dev/net "$state/dev"
    for directory in pts shm; do
        mkdir "$state/dev/$directory"
        ! mountpoint -q "/dev/$directory" || mount --move "/dev/$directory" "$state/dev/$directory"
    done
    ln -s pts/ptmx "$state/dev/ptmx"
    ln -s /proc/self/fd "$state/dev/fd"
    umount --recursive --lazy /dev || true # it may be a plain directory
    mount --move "$state/dev" /dev
fi

ip link set lo up
exec libvirtd -p "$state/run/libvirtd.pid"
