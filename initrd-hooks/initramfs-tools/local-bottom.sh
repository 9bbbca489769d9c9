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

latchkey_network_down
exit 0
