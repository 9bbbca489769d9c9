#!/bin/sh
# Managed by "latchkey install initramfs-tools", which overwrites it: do not edit.
#
# Runs once a second while the root device is missing: latchkey looks again for devices that were not there. Named to come
# before cryptroot, which is in this folder too.
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

[ -e "$latchkey_run/waiting" ] || exit 0
latchkey_boot --device-timeout 1s
exit 0
