#!/bin/sh
# Managed by "latchkey install initramfs-tools", which overwrites it: do not edit.
#
# Build hook of initramfs-tools (mkinitramfs runs it): brings the program, its configuration and the drivers into the image.
# It lies in /etc, whose hooks run after those of /usr/share: what the packages bring is in the image by then, so it can step in
# front of two of their scripts. Boot scripts are copied by mkinitramfs itself. Nothing of this runs at boot.
# shellcheck disable=SC1091  # sourced files

prereqs() {
    echo
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

# mkinitramfs makes no image when a hook fails. Better none: the old one stays in its place.
refuse() {
    echo "E: latchkey: $*" >&2
    echo "E: latchkey: no image is made with a program that does not work; the old image stays as it is." >&2
    exit 1
}

warn() {
    echo "W: latchkey: $*" >&2
}

# What the volumes, tokens and sticks need beyond the program, in words: luks, tpm, network, usb, vfat and so on. The program
# reads the tokens.
needs() {
    case " $needed " in
        *" $1 "*) return 0 ;;
    esac
    return 1
}

# A stripped program is plain Bun: it ignores what it should do and takes orders from its arguments.
install_program() {
    wanted=$("$program" --version 2> /dev/null)
    case $wanted in
        "latchkey "*) ;;
        *) refuse "$program answers --version with '$wanted': it was stripped or is damaged" ;;
    esac

    copy_exec "$program" || refuse "$program could not be copied into the image"

    if answer=$("${DESTDIR:?}$program" --version 2> /dev/null); then
        [ "$answer" = "$wanted" ] || refuse "the copy in the image answers --version with '$answer', not '$wanted'"
    else
        # A temporary directory mounted noexec: nothing can be run there, so compare.
        cmp -s "$DESTDIR$program" "$program" || refuse "the copy in the image does not run, and differs from $program"
    fi

    # The boot scripts start the program only when it still answers with this. A damaged one might not come back: timeout
    # ends it. busybox has that program, where there is one.
    mkdir -p "$DESTDIR$folder"
    echo "$wanted" > "$DESTDIR$folder/version"
    [ -e "$DESTDIR/usr/bin/timeout" ] || copy_exec /usr/bin/timeout || refuse "/usr/bin/timeout could not be copied into the image"
}

# The configuration and the tokens, whatever machine the image is for: without them it could open less than this one.
install_configuration() {
    # Tokens, certificates and detached LUKS headers may lie elsewhere.
    files=$("$program" image-needs --files 2> /dev/null)
    echo "$files" | while IFS= read -r file; do
        case $file in
            /*) ;;
            *) continue ;;
        esac
        if [ -f "$file" ]; then install_file "$file"; else warn "$file is wanted in this image, and is not here."; fi
    done || exit 1

    key_files=$("$program" image-needs --key-files 2> /dev/null)
    echo "$key_files" | while IFS= read -r file; do
        case $file in
            /*) [ -f "$file" ] || continue ;;
            *) continue ;;
        esac
        install_file "$file"
        warn "$file goes into this image, as the source keyfile wants it."
        warn "ANYONE WHO READS /boot CAN OPEN THE DISK with it."
    done || exit 1

    [ -d /etc/latchkey ] || return 0
    # The folder, or what is in it, may be a link.
    find -L /etc/latchkey/ -type f | while IFS= read -r file; do
        case $file in
            *.key)
                [ -e "$DESTDIR$file" ] || warn "left $file out: a key does not belong in an image that anyone with the disk can read."
                ;;
            *) install_file "$file" ;;
        esac
    done || exit 1
}

install_file() {
    mkdir -p "$DESTDIR${1%/*}"
    cp -p "$1" "$DESTDIR$1" || refuse "$1 could not be copied into the image"
}

# What a kernel lacks is passed over: newer ones have many of these as library code.
install_drivers() {
    # The filesystem asks the kernel's crypto API for these by name, so they are no dependencies of the module.
    manual_add_modules bcachefs chacha20 poly1305 sha256 crc32c crc64 xxhash lz4 lz4hc zstd

    # cryptsetup-initramfs brings the ciphers of what crypttab names. Key slots are read through the kernel's crypto API, too.
    if needs luks; then
        manual_add_modules dm_mod dm_crypt drbg algif_skcipher crypto-aes crypto-xts crypto-cbc crypto-essiv crypto-serpent \
            crypto-twofish crypto-adiantum crypto-sha1 crypto-sha256 crypto-sha512
        [ -e "$DESTDIR/usr/sbin/cryptsetup" ] || copy_exec /usr/sbin/cryptsetup || warn "cryptsetup is not installed: LUKS volumes stay closed."
    fi

    # Often built in, in Debian for example. Nothing of clevis and no TPM library is needed.
    if needs tpm; then manual_add_modules tpm_crb tpm_tis; fi
    if needs network; then
        # With MODULES=most they are there already.
        case ${MODULES-} in
            most | netboot) ;;
            *) auto_add_modules net ;;
        esac
        manual_add_modules af_packet
        # Takes the network down again; busybox has it, where there is one.
        [ -e "$DESTDIR/usr/bin/ip" ] || [ -e "$DESTDIR/usr/sbin/ip" ] || copy_exec /usr/bin/ip || warn "/usr/bin/ip could not be copied into the image"
    fi

    # The code pages are those that vfat asks for by itself.
    if needs usb; then
        manual_add_modules xhci_pci xhci_plat_hcd ehci_pci ohci_pci uhci_hcd usb_storage uas sd_mod sr_mod
    fi
    if needs vfat; then manual_add_modules vfat nls_cp437 nls_ascii nls_iso8859-1 nls_utf8; fi
    if needs exfat; then manual_add_modules exfat; fi
    if needs ext4; then manual_add_modules ext4; fi
    if needs iso9660; then manual_add_modules isofs; fi

    root_type=$(findmnt --noheadings --output FSTYPE --target / 2> /dev/null)
    if [ "$root_type" = bcachefs ] && ! modinfo -k "${version:?}" bcachefs > /dev/null 2>&1; then
        warn "kernel $version has no bcachefs module, and / is a bcachefs: this image cannot mount it."
        warn "the module left the kernel with 6.18: install the DKMS package of bcachefs for this kernel."
    fi
}

# Puts a script of a package aside, in the image only: ours stands in its place and starts it when latchkey did not do the work.
step_in_front_of() {
    [ -f "$DESTDIR$1" ] || return 1
    mv "$DESTDIR$1" "$DESTDIR$folder/$2" || refuse "$1 could not be put aside in the image"
}

needed=$("$program" image-needs 2> /dev/null)
install_program
echo "$needed" > "$DESTDIR$folder/needs"
install_configuration
install_drivers

# bcachefs-tools' question: it asks although the filesystem is unlocked. local-premount/latchkey starts it otherwise.
step_in_front_of /scripts/local-premount/bcachefs bcachefs-question || true

# Debian's way to answer over SSH: it knows no other asker than cryptroot.
if step_in_front_of /usr/bin/cryptroot-unlock debian-cryptroot-unlock; then
    cp -p "$folder/cryptroot-unlock" "$DESTDIR/usr/bin/cryptroot-unlock" || refuse "cryptroot-unlock could not be replaced in the image"
fi
exit 0
