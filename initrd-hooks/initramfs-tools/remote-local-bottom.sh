#!/bin/sh
# Managed by "latchkey install initramfs-tools", which overwrites it: do not edit.

prereqs() {
    echo
}

case ${1-} in
    prereqs)
        prereqs
        exit 0
        ;;
esac

[ -x /usr/lib/latchkey/remote-stop ] && /usr/lib/latchkey/remote-stop
exit 0
