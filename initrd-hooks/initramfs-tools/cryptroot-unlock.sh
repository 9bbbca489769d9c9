#!/bin/sh
# Managed by "latchkey install initramfs-tools", which overwrites it: do not edit.
#
# Stands in front of Debian's cryptroot-unlock in the image, which waits for cryptroot's question and knows no other. While
# latchkey is at work, its question is answered here, in Debian's manner: on a terminal until nothing is left to ask; otherwise
# one passphrase from standard input. Then, and without latchkey, Debian's own does the rest.

askpass=/usr/lib/cryptsetup/askpass
fifo=/lib/cryptsetup/passfifo
program=/usr/bin/latchkey
debian=/usr/lib/latchkey/debian-cryptroot-unlock

# Tenths of a second: until a question comes, and until an answer is judged (a key derivation may take all of a slow processor).
question_limit=100
verdict_limit=600

is_latchkey_at_work() {
    for process in /proc/[0-9]*; do
        [ "$(readlink "$process/exe" 2> /dev/null)" = "$program" ] && return 0
    done
    return 1
}

# Sets asker to the process id of latchkey's askpass, and text to its question; empty when there is none.
find_question() {
    asker=
    text=
    [ -p "$fifo" ] || return 0
    for process in /proc/[0-9]*; do
        [ "$(readlink "$process/exe" 2> /dev/null)" = "$askpass" ] || continue
        # proc_pid_stat(5): process id, name, state, parent
        read -r _ _ _ parent _ 2> /dev/null < "$process/stat" || continue
        [ "$(readlink "/proc/$parent/exe" 2> /dev/null)" = "$program" ] || continue
        asker=${process##*/}
        text=$(tr '\0' '\n' 2> /dev/null < "$process/cmdline" | sed -n 2p)
        return 0
    done
}

# Waits for a question other than that of the process $1. Status 1: latchkey is not at work (any more), 2: none came.
await_question() {
    tenths=$2
    while [ "$tenths" -gt 0 ]; do
        find_question
        [ -n "$asker" ] && [ "$asker" != "$1" ] && return 0
        is_latchkey_at_work || return 1
        sleep 0.1
        tenths=$((tenths - 1))
    done
    return 2
}

# As Debian's counts: a mapping for every name in crypttab.
are_all_open() {
    while read -r name _; do
        case $name in
            "" | "#"*) continue ;;
        esac
        [ -e "/dev/mapper/$name" ] || return 1
    done < /cryptroot/crypttab
}

is_wrong() {
    case $text in
        Wrong* | "Nothing was typed"* | "That was too long"* | Cancelled*) return 0 ;;
    esac
    return 1
}

hand_over() {
    echo "latchkey: nothing is left to ask" >&2
    exec "$debian" "$@"
}

await_question "" "$question_limit"
case $? in
    1) exec "$debian" "$@" ;;
    2)
        echo "latchkey: no question has come up" >&2
        exit 1
        ;;
esac

if ! [ -t 0 ]; then
    echo "$text"
    answered=$asker
    cat > "$fifo"
    await_question "$answered" "$verdict_limit"
    case $? in
        0)
            # Another question: it says what became of the answer to this one.
            echo "$text" >&2
            is_wrong && exit 1
            exit 0
            ;;
        1)
            are_all_open
            exit
            ;;
    esac
    echo "latchkey: the answer was not judged in time" >&2
    exit 1
fi

while :; do
    # Nothing of what is typed is shown.
    printf '%s' "$text"
    stty -echo
    IFS= read -r answer
    stty echo
    echo
    answered=$asker
    # It may have been answered elsewhere meanwhile.
    find_question
    if [ "$asker" = "$answered" ]; then printf '%s' "$answer" > "$fifo"; fi
    answer=
    await_question "$answered" "$verdict_limit" || hand_over "$@"
done
