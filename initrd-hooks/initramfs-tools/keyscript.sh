#!/bin/sh
# Managed by "latchkey install initramfs-tools", which overwrites it: do not edit.
#
# For crypttab's keyscript=, which names a program and no arguments for it. The key goes to standard output. When latchkey cannot
# give one, askpass asks as it would without this: cryptroot knows no other way once there is a keyscript.
# shellcheck disable=SC1091  # sourced files

# In the initramfs latchkey may be switched off, and a damaged program is not started.
if [ -r /scripts/latchkey ]; then
    . /scripts/latchkey
    if latchkey_switched_off || ! latchkey_is_whole; then exec /lib/cryptsetup/askpass "Please unlock disk ${CRYPTTAB_NAME-}: "; fi
    unset BUN_BE_BUN BUN_OPTIONS BUN_INSPECT NODE_OPTIONS
fi

/usr/bin/latchkey keyscript "$@" < /dev/null
status=$?
case $status in
    # 4: refused by policy, such as a disk that is not the one that was configured. Nobody shall type a passphrase for it.
    0 | 4) exit "$status" ;;
esac
if [ "$status" -gt 128 ] && [ -r /scripts/latchkey ]; then latchkey_end_question; fi
exec /lib/cryptsetup/askpass "Please unlock disk ${CRYPTTAB_NAME-}: "
