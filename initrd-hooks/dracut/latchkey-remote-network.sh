#!/bin/sh
# Managed by "latchkey install dracut", which overwrites it: do not edit.
#
# Lets systemd-networkd run (latchkey-network.service), and takes down what it brought up before the real root runs: that sets its
# network up by itself, and must not find an address it knows nothing of. Builtins, mkdir and ip only.

mark=/run/latchkey-network

# Somebody else wants the network in the initrd, and perhaps beyond it.
is_wanted_by_others() {
    [ -e /run/networkd/initrd/neednet ]
}

case ${1-} in
    up)
        : > "$mark"
        read -r line < /proc/cmdline
        case " $line " in
            # systemd-network-generator has read it at the start.
            *" ip="*) exit 0 ;;
        esac
        [ -r /usr/lib/latchkey/remote-ip ] || exit 0
        read -r address < /usr/lib/latchkey/remote-ip
        /usr/lib/systemd/systemd-network-generator "$address"
        ;;
    down)
        is_wanted_by_others && exit 0
        for interface in /sys/class/net/*; do
            interface=${interface##*/}
            [ "$interface" = lo ] && continue
            ip address flush dev "$interface"
            ip link set dev "$interface" down
        done
        ;;
esac
exit 0
