#!/bin/sh
# Managed by "latchkey install initramfs-tools", which overwrites it: do not edit.
#
# The root is mounted, and nothing of it has run yet.
# shellcheck disable=SC1091,SC2154  # sourced files

prereqs() {
    echo
}

case ${1-} in
    prereqs)
        prereqs
        exit 0
        ;;
esac

. /scripts/functions
. /scripts/latchkey

# A volume that the configuration names may have come after latchkey's last look: what was mounted unseen may be refused still.
if [ -s "$latchkey_run/waiting" ] && read -r missing < "$latchkey_run/waiting" && [ -n "$missing" ]; then
    latchkey_boot --device-timeout 0s
fi

if [ -e "$latchkey_members" ]; then umount "$latchkey_members" && rmdir "$latchkey_members"; fi

# The network that was brought up for latchkey alone goes down: the booted system sets up its own.
[ -e /run/latchkey-network ] || exit 0
rm -f /run/latchkey-network
# Asked for on the kernel command line: then it is wanted on.
case ${IP-} in
    "" | none | off) ;;
    *) exit 0 ;;
esac
for settings in /run/net-*.conf; do
    [ -e "$settings" ] || continue
    interface=${settings#/run/net-}
    interface=${interface%.conf}
    ip addr flush dev "$interface"
    ip link set dev "$interface" down
    rm -f "$settings"
done
exit 0
