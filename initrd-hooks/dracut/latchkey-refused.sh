#!/bin/sh
# Managed by "latchkey install dracut", which overwrites it: do not edit.
#
# dracut sources this before its emergency shell, and before it turns the power off (rd.shell=0). Builtins only.

if [ -r /run/latchkey/refused ]; then
    while IFS= read -r _line || [ -n "$_line" ]; do
        printf 'latchkey: the root filesystem was refused: %s\n' "$_line" > /dev/console
    done < /run/latchkey/refused
fi
