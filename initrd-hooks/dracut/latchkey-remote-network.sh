#!/bin/sh
# Managed by "latchkey install dracut", which overwrites it: do not edit.
#
# Lets systemd-networkd run (latchkey-network.service), and takes down what it brought up before the real root runs: that sets its
# network up by itself, and must not find an address it knows nothing of. Builtins, mkdir, rm and latchkey only.

mark=/run/latchkey-network
settings=/run/systemd/network

# An identifier that is the same at every boot, so that a DHCP server has the same address for it.
same_address='[DHCPv4]
ClientIdentifier=mac
'

# Somebody else wants the network in the initrd, and perhaps beyond it: the root may lie behind it. So it does where not
# systemd-networkd brings it up (NetworkManager, dracut's own scripts): then it comes with every boot, for whom nobody can tell.
is_wanted_by_others() {
    [ -e /run/networkd/initrd/neednet ] || ! [ -e "${LATCHKEY_NETWORKD:-/usr/lib/systemd/systemd-networkd}" ]
}

is_there() {
    [ -e "$1" ]
}

# The address of this kernel parameter, or of the kernel's own, and nothing on other cards.
write_settings() {
    /usr/lib/systemd/systemd-network-generator "$@" || return
    for file in "$settings"/*.network; do
        [ -e "$file" ] || continue
        # networkd takes the first file that fits, by name: ours before those of the system, which a hostonly image has.
        {
            while IFS= read -r line; do printf '%s\n' "$line"; done < "$file"
            printf '%s' "$same_address"
        } > "$settings/00-latchkey-${file##*/}"
        rm -f "$file"
    done
    # dracut's module of networkd has one for every card.
    rm -f /etc/systemd/network/zzzz-dracut-default.network
}

# As dracut's: DHCP on every card that nothing else is said of.
write_default() {
    mkdir -p "$settings"
    printf '[Match]\nKind=!*\nType=!loopback\n[Network]\nDHCP=yes\n%s' "$same_address" > "$settings/zzzz-latchkey.network"
}

case ${1-} in
    up)
        # Not the first time.
        [ -e "$mark" ] && exit 0
        : > "$mark"
        read -r line < /proc/cmdline
        case " $line " in
            *" ip="*)
                # Where dracut's module of networkd is in the image, it has read that at the start.
                is_there "$settings"/*.network || write_settings
                ;;
            *)
                if [ -r /usr/lib/latchkey/remote-ip ]; then
                    read -r address < /usr/lib/latchkey/remote-ip
                    write_settings "$address"
                else
                    write_default
                fi
                ;;
        esac
        ;;
    down)
        is_wanted_by_others && exit 0
        # Not by ip: with its libelf in the image systemd would load BPF programs at every boot.
        /usr/bin/latchkey network-down
        ;;
esac
exit 0
