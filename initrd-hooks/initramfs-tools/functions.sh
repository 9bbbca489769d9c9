#!/bin/sh
# Managed by "latchkey install initramfs-tools", which overwrites it: do not edit.
#
# What latchkey's boot scripts have in common; they source it as /scripts/latchkey. Shell builtins, the programs of every
# initramfs-tools image (blkid, sleep) and timeout, which the hook sees to: there may be no busybox.

# latchkey leaves its marks and the report here; /run moves along to the booted system.
latchkey_run=/run/latchkey
latchkey_program=/usr/bin/latchkey
latchkey_folder=/usr/lib/latchkey
latchkey_members=$latchkey_run/members
latchkey_network=$latchkey_run/network

latchkey_say() {
    if [ -x /bin/plymouth ] && plymouth --ping; then plymouth message --text="latchkey: $*"; fi
    echo "latchkey: $*" >&2
}

# By the words that the program takes for no, src/config/kernel-command-line.ts.
latchkey_switched_off() {
    read -r latchkey_line < /proc/cmdline
    case " $latchkey_line " in
        *" rd.latchkey="[0nNfF]" "* | *" rd.latchkey="[nN][oO]" "* | *" rd.latchkey="[oO][fF][fF]" "* | *" rd.latchkey="[fF][aA][lL][sS][eE]" "*) return 0 ;;
    esac
    return 1
}

# Does the image need this word for its tokens: tpm, network?
latchkey_needs() {
    latchkey_line=
    read -r latchkey_line 2> /dev/null < "$latchkey_folder/needs"
    case " $latchkey_line " in
        *" $1 "*) return 0 ;;
    esac
    return 1
}

# Is the program in the image the one that was put there? A stripped one would start as plain Bun, a truncated one might hang. Its
# answer goes to a file: at a pipe, the shell would wait for whatever the program has left behind.
latchkey_is_whole() {
    latchkey_wanted=
    read -r latchkey_wanted 2> /dev/null < "$latchkey_folder/version"
    [ -n "$latchkey_wanted" ] || return 1
    timeout -s KILL 20 "$latchkey_program" --version > /run/latchkey-version 2> /dev/null < /dev/null
    latchkey_answer=
    read -r latchkey_answer < /run/latchkey-version
    rm -f /run/latchkey-version
    [ "$latchkey_answer" = "$latchkey_wanted" ]
}

# The process ids of a program, by the name in /proc/PID/comm.
latchkey_processes() {
    for latchkey_process in /proc/[0-9]*; do
        read -r latchkey_name 2> /dev/null < "$latchkey_process/comm" || continue
        [ "$latchkey_name" != "$1" ] || echo "${latchkey_process##*/}"
    done
}

# latchkey was killed: its question goes too, or it and the next one would share the keyboard. Opened and closed, the FIFO is an
# empty answer to askpass, which then gives the console back; killed, it would leave it silent.
latchkey_end_question() {
    latchkey_fifo=/lib/cryptsetup/passfifo
    latchkey_tries=20
    while [ -n "$(latchkey_processes askpass)" ] && [ "$latchkey_tries" -gt 0 ]; do
        # For reading and writing: that never waits for the other end, fifo(7).
        if [ -p "$latchkey_fifo" ]; then : <> "$latchkey_fifo"; fi
        sleep 0.1
        latchkey_tries=$((latchkey_tries - 1))
    done
    for latchkey_process in $(latchkey_processes askpass); do kill -9 "$latchkey_process"; done
    if command -v stty > /dev/null; then stty sane 2> /dev/null < /dev/console; fi
}

# Opens what can be opened, with the arguments for `latchkey boot`, and comes back when the boot may go on. Whatever latchkey did
# not open, or if it is off, damaged or dead: the system's own scripts ask as they would without it.
latchkey_boot() {
    if latchkey_switched_off; then
        latchkey_say "switched off by rd.latchkey=0: the system asks by itself"
        return 0
    fi
    if ! latchkey_is_whole; then
        latchkey_say "the program in this image is missing or damaged: the system asks by itself"
        return 0
    fi
    latchkey_run_program "$@"
    latchkey_hold_back "$@"
    latchkey_gather_members
}

latchkey_run_program() {
    rm -f "$latchkey_run/waiting"
    # These would turn the program into plain Bun, or give orders to the Bun inside; words of the kernel command line that the
    # kernel does not know become variables of init.
    unset BUN_BE_BUN BUN_OPTIONS BUN_INSPECT NODE_OPTIONS
    # No time limit: a person may take hours. A program that stands still is ended by its own alarm(2).
    "$latchkey_program" boot "$@" < /dev/null
    latchkey_status=$?
    [ "$latchkey_status" -le 128 ] && return 0
    latchkey_say "it died (status $latchkey_status): the system asks by itself"
    latchkey_end_question
}

# While the mark of a refused root is there, which holds the reason in one line, nothing goes on. panic obeys the kernel's panic=
# and starts a shell without it. Leaving the shell makes latchkey look at the disk again; whoever wants that disk all the same
# removes the mark.
latchkey_hold_back() {
    while [ -e "$latchkey_run/refused" ]; do
        IFS= read -r latchkey_line < "$latchkey_run/refused"
        if [ -x /bin/plymouth ] && plymouth --ping; then plymouth message --text="latchkey: $latchkey_line"; fi
        panic "latchkey: the root filesystem was refused: $latchkey_line"
        if [ -e "$latchkey_run/refused" ]; then latchkey_run_program "$@"; fi
    done
}

# A root of several members, and no helper for mount that would find them: mounted here by all their names, it is complete when
# the system mounts one of them.
latchkey_gather_members() {
    [ -s "$latchkey_run/root-members" ] || return 0
    if [ -x /sbin/mount.bcachefs ] || [ -e "$latchkey_members" ]; then return 0; fi
    IFS= read -r latchkey_line < "$latchkey_run/root-members"
    mkdir -p "$latchkey_members"
    latchkey_mode=-w
    if [ "${readonly-y}" = y ]; then latchkey_mode=-r; fi
    # shellcheck disable=SC2086  # options, "-o one,two"
    mount "$latchkey_mode" -t bcachefs ${ROOTFLAGS-} "$latchkey_line" "$latchkey_members" && return 0
    rmdir "$latchkey_members"
}

# Brings the network up beside everything else, for tokens that want it: latchkey tries their servers until it is there, and asks
# meanwhile. Where something else has it up or brings it up (dropbear, iscsi), it is theirs. What it has to say goes into the
# kernel's log: the console belongs to the question.
latchkey_network_up() {
    if [ -e /scripts/init-premount/dropbear ] || [ -e "$latchkey_network" ]; then return 0; fi
    if latchkey_network_is_theirs; then return 0; fi
    mkdir -p "$latchkey_network"
    latchkey_configure_network &
    echo $! > "$latchkey_network/pid"
}

# Some other script of this initramfs has given an interface its address.
latchkey_network_is_theirs() {
    if [ -d "$latchkey_network" ]; then return 1; fi
    for latchkey_settings in /run/net-*.conf; do
        if [ -e "$latchkey_settings" ]; then return 0; fi
    done
    return 1
}

latchkey_configure_network() {
    exec < /dev/null > /dev/kmsg 2>&1
    # The address that the configuration gives the SSH server is this machine's; the kernel's own ip= wins.
    if [ -z "${IP-}" ] && [ -r "$latchkey_folder/remote-ip" ]; then
        read -r latchkey_line < "$latchkey_folder/remote-ip"
        IP=${latchkey_line#ip=}
    fi
    configure_networking
}

# The network that was brought up for latchkey alone goes down, also where ip= gave it its address: the booted system sets up its
# own, and ifup(8) fails at an address that is there already. What is still waiting for a card or an address, for minutes
# perhaps, would meddle with that.
latchkey_network_down() {
    [ -d "$latchkey_network" ] || return 0
    if read -r latchkey_process 2> /dev/null < "$latchkey_network/pid"; then latchkey_end_family "$latchkey_process"; fi
    rm -rf "$latchkey_network"
    # remote-stop takes it down, once nobody is logged in any more.
    if [ -d /run/latchkey-remote ]; then return 0; fi
    latchkey_interfaces_down
}

latchkey_interfaces_down() {
    for latchkey_interface in /sys/class/net/*; do
        latchkey_interface=${latchkey_interface##*/}
        [ "$latchkey_interface" = lo ] && continue
        ip addr flush dev "$latchkey_interface"
        ip link set dev "$latchkey_interface" down
        rm -f "/run/net-$latchkey_interface.conf"
    done
}

# Ends a process and everything that it started. It is stopped first, so that it starts no other meanwhile.
latchkey_end_family() {
    kill -STOP "$1" 2> /dev/null || return 0
    for latchkey_process in /proc/[0-9]*; do
        # proc_pid_stat(5): process id, name, state, parent
        read -r latchkey_line 2> /dev/null < "$latchkey_process/stat" || continue
        latchkey_line=${latchkey_line##*) }
        latchkey_line=${latchkey_line#* }
        [ "${latchkey_line%% *}" = "$1" ] && latchkey_end_family "${latchkey_process##*/}"
    done
    kill -KILL "$1" 2> /dev/null
}

# The key of the bcachefs on a device is in the kernel.
latchkey_unlocked() {
    latchkey_uuid=$(blkid -s UUID -o value "$1" 2> /dev/null)
    [ -n "$latchkey_uuid" ] || return 1
    while read -r latchkey_line; do
        case $latchkey_line in
            *" bcachefs:$latchkey_uuid:"*) return 0 ;;
        esac
    done < /proc/keys
    return 1
}
