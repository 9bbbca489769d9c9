#!/bin/sh
# Managed by "latchkey install initramfs-tools", which overwrites it: do not edit.
#
# latchkey runs this when it is time to ask: brings the network and the SSH server up, and waits for neither. Where
# dropbear-initramfs is installed it has done so by itself.
# shellcheck disable=SC1091,SC2034,SC2154  # sourced files

folder=/usr/lib/latchkey
mark=/run/latchkey-remote

run_server() {
    . /scripts/functions
    # The kernel's own ip= wins.
    if [ -z "${IP-}" ] && [ -r "$folder/remote-ip" ]; then
        read -r address < "$folder/remote-ip"
        IP=${address#ip=}
    fi
    configure_networking
    # dropbear and sshd want pseudo-terminals; a minimal image has them not yet.
    if ! [ -e /dev/pts/ptmx ]; then
        mkdir -p /dev/pts
        mount -t devpts -o noexec,nosuid,gid=5,mode=0620 devpts /dev/pts
    fi
    exec "$folder/remote-server"
}

if [ "${1-}" = run ]; then run_server; fi
[ -e "$folder/remote-adopted" ] && exit 0
# latchkey runs again while devices are missing; the server is one.
mkdir "$mark" 2> /dev/null || exit 0
. /scripts/latchkey
if latchkey_network_is_theirs; then : > "$mark/network-is-theirs"; fi
# Into the kernel's log: the console belongs to the question.
"$0" run < /dev/null > /dev/kmsg 2>&1 &
echo $! > "$mark/pid"
exit 0
