#!/bin/sh
# Managed by "latchkey install dracut", which overwrites it: do not edit.
#
# Runs when latchkey crashed, is missing, gave up or is switched off (latchkey-fallback.service), and asks for the passphrase
# of an encrypted bcachefs root; dracut has no question of its own for it. LUKS volumes are asked for by systemd-cryptsetup.
#
# Never waits without a visible question. The passphrase goes from the question to bcachefs through a pipe and is in no
# variable, argument or file. Only builtins, systemctl, udevadm, systemd-ask-password and bcachefs: a dracut image has little
# else.

say() {
    printf 'latchkey: %s\n' "$*" >&2
}

property() {
    systemctl show --property="$1" --value "$2" 2> /dev/null
}

# By the words that the program takes for no, src/config/kernel-command-line.ts.
switched_off() {
    read -r _line < "${LATCHKEY_CMDLINE:-/proc/cmdline}"
    case " $_line " in
        *" rd.latchkey="[0nNfF]" "* | *" rd.latchkey="[nN][oO]" "* | *" rd.latchkey="[oO][fF][fF]" "* | *" rd.latchkey="[fF][aA][lL][sS][eE]" "*) return 0 ;;
    esac
    return 1
}

# The key is in the kernel already when latchkey got as far as that.
is_unlocked() {
    _uuid=$(udevadm info --query=property --property=ID_FS_UUID --value --name="$1" 2> /dev/null)
    [ -n "$_uuid" ] || return 1
    while read -r _key; do
        case $_key in
            *" bcachefs:$_uuid:"*) return 0 ;;
        esac
    done < "${LATCHKEY_KEYS:-/proc/keys}"
    return 1
}

# Status 0: opened · 1: wrong passphrase · 2: nobody answered (cancelled, or no way to ask).
ask_and_unlock() {
    _unanswered=$(
        {
            { systemd-ask-password --no-tty --timeout=0 --icon=drive-harddisk --id="latchkey-fallback:$1" "$2" || echo yes >&3; } \
                | bcachefs unlock -k user "$1" >&2
        } 3>&1
    ) && return 0
    [ -n "$_unanswered" ] && return 2
    return 1
}

# What systemd is about to mount on /sysroot, however it learned of that; or what the unit says, where there are several.
mount=${LATCHKEY_MOUNT:-sysroot.mount}
device=${LATCHKEY_DEVICE:-$(property What "$mount")}
[ "$(property ActiveState "$mount")" = active ] && exit 0
# A list of members, "/dev/a:/dev/b": each of them opens all. (A colon may also be part of a path.)
[ -e "$device" ] || device=${device%%:*}
case $device in
    /dev/*) ;;
    *) exit 0 ;;
esac

if switched_off; then
    why="switched off by rd.latchkey=0"
else
    why="latchkey failed ($(property Result latchkey.service), status $(property ExecMainStatus latchkey.service))"
fi

if ! [ -e "$device" ]; then
    say "$why, and the root device $device is not there"
    exit 1
fi

if ! command -v bcachefs > /dev/null; then
    if [ "$(udevadm info --query=property --property=ID_FS_TYPE --value --name="$device" 2> /dev/null)" = bcachefs ]; then
        say "$why, and bcachefs-tools is not in this image"
        say "if $device is encrypted it cannot be mounted, and the emergency shell follows"
        exit 1
    fi
    say "$why; the system goes on by itself"
    exit 0
fi

# Status 0: encrypted with a passphrase. Anything else, another filesystem for example, is mounted without us.
if ! bcachefs unlock -c "$device" > /dev/null 2>&1; then
    say "$why; the system goes on by itself"
    exit 0
fi
if is_unlocked "$device"; then
    say "$why, but $device is unlocked"
    exit 0
fi

say "$why; asking for the passphrase of $device"
# From afar as well, where the image has the means.
if [ -x /usr/lib/latchkey/remote-start ]; then /usr/lib/latchkey/remote-start; fi
question="Passphrase for $device:"
while :; do
    ask_and_unlock "$device" "$question"
    case $? in
        0)
            say "$device is unlocked"
            exit 0
            ;;
        2)
            say "no passphrase was given: $device stays locked, and the emergency shell follows"
            exit 1
            ;;
    esac
    # The tool may have died after it had put the key in place: what counts is the key.
    if is_unlocked "$device"; then
        say "$device is unlocked"
        exit 0
    fi
    question="That was not the passphrase. Passphrase for $device:"
done
