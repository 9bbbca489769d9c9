#!/bin/sh
# Managed by "latchkey install initramfs-tools", which overwrites it: do not edit.
#
# Opens encrypted volumes before anything of the system looks for them. Whatever becomes of it, the boot goes on: cryptroot asks
# for what is still closed, and so does the question of bcachefs-tools.
# shellcheck disable=SC1091  # sourced files

prereqs() {
    # After everything that brings disks (iscsi, multipath), and before cryptroot, which sees to being the last.
    for script in "${DESTDIR-}/scripts/local-top"/*; do
        [ -x "$script" ] || continue
        case ${script##*/} in
            latchkey | cryptroot) ;;
            *) echo "${script##*/}" ;;
        esac
    done
}

case ${1-} in
    prereqs)
        prereqs
        exit 0
        ;;
esac

. /scripts/functions
. /scripts/latchkey

if latchkey_needs network && ! latchkey_switched_off; then latchkey_network_up; fi

# Not as long as the configuration says: what makes devices out of others (RAID, LVM) has its turn in local-block, and the time
# until initramfs-tools gives the root up is running. What is not there yet is looked for again in local-block.
latchkey_boot --device-timeout 10s
exit 0
