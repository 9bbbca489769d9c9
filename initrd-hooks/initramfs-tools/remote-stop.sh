#!/bin/sh
# Managed by "latchkey install initramfs-tools", which overwrites it: do not edit.
#
# The root is mounted (scripts/local-bottom/latchkey-remote). Ends the SSH server with its sessions, and takes down the network that was
# brought up for it: the booted system sets up its own.
#
# dropbear-initramfs ends its server by itself. But while that still waits for a network that never comes, it waits along, for a
# minute; so what waits is ended here.
# shellcheck disable=SC1091  # sourced file

folder=/usr/lib/latchkey
mark=/run/latchkey-remote
dropbear_pid=/run/dropbear.pid

. /scripts/latchkey

if [ -e "$folder/remote-adopted" ]; then
    [ -r "$dropbear_pid" ] || exit 0
    read -r process < "$dropbear_pid"
    # Not by its name: what waits is a script that is called dropbear, too.
    [ "$(readlink -f "/proc/$process/exe" 2> /dev/null)" = "$(readlink -f /sbin/dropbear)" ] || latchkey_end_family "$process"
    exit 0
fi

[ -d "$mark" ] || exit 0
if read -r process 2> /dev/null < "$mark/pid"; then latchkey_end_family "$process"; fi
# It was there before (open-iscsi, an address that the firmware left): the root may lie behind it.
if [ -e "$mark/network-is-theirs" ]; then
    rm -rf "$mark"
    exit 0
fi
rm -rf "$mark"
# Asked for on the kernel command line: then it is wanted on.
case ${IP-} in
    "" | none | off) ;;
    *) exit 0 ;;
esac
latchkey_interfaces_down
exit 0
