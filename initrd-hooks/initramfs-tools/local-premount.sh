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

device=$(resolve_device "$ROOT") || exit 0

# A bcachefs that was not there at latchkey's last look: in a volume that something else has opened since, for example.
if [ -e "$latchkey_run/waiting" ] && [ "$(blkid -s TYPE -o value "$device")" = bcachefs ] && ! latchkey_unlocked "$device"; then
    latchkey_boot --device-timeout 1s
fi

[ -x "$latchkey_folder/bcachefs-question" ] || exit 0
latchkey_unlocked "$device" && exit 0
exec "$latchkey_folder/bcachefs-question" "$@"
