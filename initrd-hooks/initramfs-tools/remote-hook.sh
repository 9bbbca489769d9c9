#!/bin/sh
# Managed by "latchkey install initramfs-tools", which overwrites it: do not edit.
#
# Build hook of initramfs-tools: the SSH server that a person answers over, where the configuration wants one. After the hooks of
# latchkey and of dropbear-initramfs. Where the latter is installed it stays as it is; only what its sessions run changes.
# shellcheck disable=SC1091  # sourced files

prereqs() {
    echo "latchkey dropbear"
}

case ${1-} in
    prereqs)
        prereqs
        exit 0
        ;;
esac

. /usr/share/initramfs-tools/hook-functions

program=/usr/bin/latchkey
folder=/usr/lib/latchkey

# mkinitramfs makes no image when a hook fails. Better none than one that nobody can log in to: the old one stays in its place.
refuse() {
    echo "E: latchkey: no image is made without the SSH server that the configuration wants; the old image stays as it is." >&2
    exit 1
}

case " $("$program" image-needs 2> /dev/null) " in
    *" remote "*) ;;
    *) exit 0 ;;
esac

mkdir -p "${DESTDIR:?}$folder"
said=$DESTDIR$folder/remote-said
list=$("$program" image-remote initramfs-tools "$DESTDIR" 2> "$said")
status=$?
mark=W
[ "$status" = 0 ] || mark=E
while IFS= read -r line; do echo "$mark: $line" >&2; done < "$said"
rm -f "$said"
[ "$status" = 0 ] || refuse
for word in $list; do
    case $word in
        /*) copy_exec "$word" || refuse ;;
        adopted) : > "$DESTDIR$folder/remote-adopted" ;;
    esac
done
cp -p "$folder/remote-start" "$DESTDIR$folder/remote-start" || refuse
cp -p "$folder/remote-stop" "$DESTDIR$folder/remote-stop" || refuse
[ -e "$DESTDIR$folder/remote-adopted" ] && exit 0

# With MODULES=most they are there already.
case ${MODULES-} in
    most | netboot) ;;
    *) auto_add_modules net ;;
esac
manual_add_modules af_packet
exit 0
