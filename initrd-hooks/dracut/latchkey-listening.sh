#!/bin/sh
# Managed by "latchkey install dracut", which overwrites it: do not edit.
#
# latchkey hands keys to systemd-cryptsetup at sockets, whose paths it writes into one file when all of them are there. A
# socket that comes late is not asked, and one that nobody listens at any longer makes systemd-cryptsetup fail instead of ask.
#
#   listening wait   before systemd-cryptsetup: waits until latchkey listens, ten seconds at most. Goes on at once when
#                    latchkey is switched off, masked, missing, broken or done. Its status is ignored.
#   listening over   after latchkey, however that ended: takes away what it left behind.
#
# Builtins, systemctl, sleep and rm only: a dracut image has little else.

list=${LATCHKEY_RUN:-/run/latchkey}/listening
keys=${LATCHKEY_KEYS:-/run/cryptsetup-keys.d}
limit=10

# Only sockets, only there: whatever else has come in their place is somebody else's.
over() {
    [ -e "$list" ] || return 0
    while IFS= read -r path; do
        case $path in
            "$keys"/*.key) if [ -S "$path" ]; then rm -f "$path"; fi ;;
        esac
    done < "$list"
    rm -f "$list"
}

# What systemd says of latchkey: "listening" now or soon, "coming", "going", or "gone" for good.
latchkey_is() {
    systemctl show --property=LoadState --property=ActiveState --property=Job latchkey.service 2> /dev/null | {
        load='' active='' job=''
        while IFS='=' read -r name value; do
            case $name in
                LoadState) load=$value ;;
                ActiveState) active=$value ;;
                Job) job=$value ;;
            esac
        done
        case $load/$active in
            loaded/activating) echo listening ;;
            loaded/deactivating) echo going ;;
            loaded/inactive | loaded/failed) if [ "${job:-0}" != 0 ]; then echo coming; else echo gone; fi ;;
            *) echo gone ;;
        esac
    }
}

uptime_seconds() {
    read -r now _ < "${LATCHKEY_UPTIME:-/proc/uptime}"
    echo "${now%%.*}"
}

wait_for_it() {
    end=$(($(uptime_seconds) + limit))
    turns=0
    while :; do
        case $(latchkey_is) in
            listening) [ -e "$list" ] && return 0 ;;
            gone)
                over
                return 0
                ;;
        esac
        turns=$((turns + 1))
        # Without a clock, or without sleep, the turns are counted all the same.
        if [ "$(uptime_seconds)" -ge "$end" ] || [ "$turns" -ge $((limit * 10)) ]; then break; fi
        sleep 0.1
    done
    printf 'latchkey: not listening after %s s: systemd-cryptsetup asks by itself\n' "$limit" >&2
}

case ${1-} in
    wait) wait_for_it ;;
    over) over ;;
    *) exit 64 ;;
esac
exit 0
