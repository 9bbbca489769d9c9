#!/bin/sh
# Managed by "latchkey install initramfs-tools", which overwrites it: do not edit.
#
# Stands in the place of the question of bcachefs-tools, which asks although the root is unlocked: that comes if latchkey did not
# unlock it. Runs before initramfs-tools waits for the root device; for one that comes later there is local-block, and mount asks.
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

[ -x "$latchkey_folder/bcachefs-question" ] || exit 0
if device=$(resolve_device "$ROOT") && latchkey_unlocked "$device"; then exit 0; fi
exec "$latchkey_folder/bcachefs-question" "$@"
