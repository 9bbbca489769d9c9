#!/bin/sh
# Managed by "latchkey install dracut", which overwrites it: do not edit.
#
# dracut sources this before its emergency shell, and before it turns the power off (rd.shell=0). Builtins, and sleep.

if [ -r /run/latchkey/refused ]; then
    while IFS= read -r _line || [ -n "$_line" ]; do
        printf 'latchkey: the root filesystem was refused: %s\n' "$_line" > /dev/console
    done < /run/latchkey/refused
    # A serial line sends slowly, and loses what it has not sent when the power goes.
    sleep 1
fi
