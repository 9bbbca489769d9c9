#!/bin/sh
# Managed by "latchkey install dracut", which overwrites it: do not edit.
#
# latchkey hands keys to systemd-cryptsetup at sockets, whose paths it writes into one file when all of them are there. A
# socket that comes late is not asked, and one that nobody listens at any longer makes systemd-cryptsetup fail instead of ask.
#
#   listening wait VOLUME        before systemd-cryptsetup: waits until latchkey listens, ten seconds at most. Goes on at once
#                                when latchkey is switched off, masked, missing, broken or done. Its status is ignored.
#   listening again VOLUME UNIT  after systemd-cryptsetup has failed: if it may have met a socket of a latchkey that had just died,
#                                it is started again, once, and asks.
#   listening over               after latchkey, however that ended: takes away the sockets and the questions it left behind.
#
# Builtins, systemctl, sleep and rm only: a dracut image has little else.

run=${LATCHKEY_RUN:-/run/latchkey}
keys=${LATCHKEY_KEYS:-/run/cryptsetup-keys.d}
questions=${LATCHKEY_QUESTIONS:-/run/systemd/ask-password}
list=$run/listening
limit=10

# Only sockets, only there: whatever else has come in their place is somebody else's.
take_sockets_away() {
    [ -e "$list" ] || return 0
    while IFS= read -r path; do
        case $path in
            "$keys"/*.key) if [ -S "$path" ]; then rm -f "$path"; fi ;;
        esac
    done < "$list"
    rm -f "$list"
}

# A question whose asker was killed stays on the console, and the next one is not shown before somebody answers it.
take_questions_away() {
    for file in "$questions"/ask.*; do
        [ -f "$file" ] || continue
        pid='' id='' socket=''
        while IFS='=' read -r name value; do
            case $name in
                PID) pid=$value ;;
                Id) id=$value ;;
                Socket) socket=$value ;;
            esac
        done < "$file"
        case $id in latchkey:*) ;; *) continue ;; esac
        if [ -n "$pid" ] && [ -e "${LATCHKEY_PROC:-/proc}/$pid" ]; then continue; fi
        rm -f "$file"
        case $socket in "$questions"/sck.*) rm -f "$socket" ;; esac
    done
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
                take_sockets_away
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

listens_for() {
    [ -e "$list" ] || return 1
    while IFS= read -r path; do
        if [ "$path" = "$keys/$1.key" ]; then return 0; fi
    done < "$list"
    return 1
}

# systemd may hear of the death of latchkey a little later than of the failure that followed from it.
is_alive() {
    turns=0
    while [ "$turns" -lt 20 ]; do
        case $(latchkey_is) in
            listening | coming) ;;
            *) return 1 ;;
        esac
        turns=$((turns + 1))
        sleep 0.1
    done
    return 0
}

start_again() {
    [ -e "$run/asked.$1" ] || return 0
    rm -f "$run/asked.$1"
    # systemd.exec(5): what became of the service.
    [ "${SERVICE_RESULT-success}" != success ] || return 0
    is_alive && return 0
    take_sockets_away
    printf 'latchkey: not there to give the key of %s: starting systemd-cryptsetup again\n' "$1" >&2
    systemctl start --no-block "$2"
}

case ${1-} in
    wait)
        wait_for_it
        if listens_for "${2-}"; then : > "$run/asked.${2-}"; fi
        ;;
    again) start_again "${2-}" "${3-}" ;;
    over)
        take_sockets_away
        take_questions_away
        ;;
    *) exit 64 ;;
esac
exit 0
