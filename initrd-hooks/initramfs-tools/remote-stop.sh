#!/bin/sh
# Managed by "latchkey install initramfs-tools", which overwrites it: do not edit.
#
# The root is mounted (scripts/local-bottom/latchkey-remote). Ends the SSH server with its sessions, and takes down the network that was
# brought up for it: the booted system sets up its own.
#
# dropbear-initramfs ends its server by itself. But while that still waits for a network that never comes, it waits along, for a
# minute; so what waits is ended here.

folder=/usr/lib/latchkey
mark=/run/latchkey-remote
dropbear_pid=/run/dropbear.pid

# Ends a process and everything that it started, the youngest last, so that none of them starts another one.
end_family() {
    kill -STOP "$1" 2> /dev/null || return 0
    for process in /proc/[0-9]*; do
        # proc_pid_stat(5): process id, name, state, parent
        read -r line 2> /dev/null < "$process/stat" || continue
        line=${line##*) }
        line=${line#* }
        [ "${line%% *}" = "$1" ] && end_family "${process##*/}"
    done
    kill -KILL "$1" 2> /dev/null
}

if [ -e "$folder/remote-adopted" ]; then
    [ -r "$dropbear_pid" ] || exit 0
    read -r process < "$dropbear_pid"
    # Not by its name: what waits is a script that is called dropbear, too.
    [ "$(readlink -f "/proc/$process/exe" 2> /dev/null)" = "$(readlink -f /sbin/dropbear)" ] || end_family "$process"
    exit 0
fi

[ -d "$mark" ] || exit 0
if read -r process 2> /dev/null < "$mark/pid"; then end_family "$process"; fi
rm -rf "$mark"
# Asked for on the kernel command line: then it is wanted on.
case ${IP-} in
    "" | none | off) ;;
    *) exit 0 ;;
esac
for interface in /sys/class/net/*; do
    interface=${interface##*/}
    [ "$interface" = lo ] && continue
    ip address flush dev "$interface"
    ip link set dev "$interface" down
    rm -f "/run/net-$interface.conf"
done
exit 0
