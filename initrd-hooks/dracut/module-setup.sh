#!/bin/bash
# Managed by "latchkey install dracut", which overwrites it: do not edit.
#
# dracut module latchkey: brings the program, its units, its configuration, the kernel's bcachefs, and what LUKS volumes need
# into the image.
# dracut sources this file with bash while it builds; nothing of it runs at boot.
# Works with dracut 106 to 112. Other modules are named without their numbers, which moved between releases.

# A hostonly image gets disk drivers for what dracut takes for the device of "/". For a bcachefs of several members that is
# "/dev/a:/dev/b", which is no device, so the image would have no disk driver at all: name the members ourselves.
latchkey_name_members() {
    local _type _source _device
    local -a _devices
    [[ ${hostonly-} ]] || return 0
    read -r _type _source < <(findmnt --noheadings --nofsroot --output FSTYPE,SOURCE --target / 2> /dev/null)
    [[ $_type == bcachefs ]] || return 0
    IFS=: read -r -a _devices <<< "$_source"
    for _device in "${_devices[@]}"; do
        [[ -b $_device ]] || continue
        # One by one: dracut 106 leaves its loop at the first device that it knows already.
        push_host_devs "$_device"
        # shellcheck disable=SC2034
        host_fs_types["$_device"]=bcachefs
    done
}

# called by dracut
check() {
    # shellcheck disable=SC2154  # set by dracut
    [[ ${mount_needs-} ]] && return 1
    # shellcheck disable=SC2154
    require_binaries /usr/bin/latchkey "$systemdutildir"/systemd systemd-ask-password || return 1
    latchkey_name_members
    return 0
}

# What the volumes and their tokens need beyond the program, in words: luks, tpm, network. The program reads the tokens.
latchkey_needs() {
    [[ ${_latchkey_needs+set} ]] || _latchkey_needs=$("${dracutsysrootdir-}"/usr/bin/latchkey image-needs 2> /dev/null)
    [[ " $_latchkey_needs " == *" $1 "* ]]
}

# Does a module work on this system? 255: yes, when asked for.
latchkey_has_module() {
    module_check "$1" &> /dev/null
    case $? in 0 | 255) return 0 ;; esac
    return 1
}

# Is there one of those that the meta module "network" chooses from?
latchkey_can_network() {
    local _module
    for _module in network-manager systemd-networkd connman network-legacy; do
        latchkey_has_module "$_module" && return 0
    done
    return 1
}

# Can systemd-networkd serve the SSH server? It is brought by ourselves (latchkey_install_networkd): hooks of dracut's module for it run at
# every boot, its bash becomes the shell of all hooks, and with the libelf of its ip systemd finds its libbpf complete, and loads BPF programs.
# A boot that asks nobody pays for none of it.
latchkey_has_networkd() {
    require_binaries "$systemdutildir"/systemd-networkd "$systemdutildir"/systemd-network-generator &> /dev/null \
        && latchkey_has_module kernel-network-modules \
        && grep -qs '^systemd-network:' "${dracutsysrootdir-}"/etc/passwd
}

# Is one of dracut's own ways in this image, for a token or for somebody else? Then it is the SSH server's, too.
latchkey_is_networked() {
    local _module
    for _module in network systemd-networkd network-manager connman network-legacy; do
        dracut_module_included "$_module" && return 0
    done
    return 1
}

# called by dracut
depends() {
    local _module _path
    # Those that this release has: before 103 the question was part of the systemd module. A name that does not exist would
    # keep us out of the image.
    for _module in systemd systemd-initrd systemd-ask-password dracut-systemd; do
        for _path in "${dracutbasedir-/usr/lib/dracut}"/modules.d/[0-9][0-9]"$_module"; do
            [[ -d $_path ]] && echo "$_module"
        done
    done
    # dracut looks for LUKS below the filesystems of this machine only. Here are volumes that the configuration names.
    if latchkey_needs luks; then
        for _module in crypt systemd-cryptsetup; do
            latchkey_has_module "$_module" && echo "$_module"
        done
    fi
    # A Tang server wants a network; a TPM wants none.
    if latchkey_needs network; then
        if latchkey_can_network; then
            echo network
        else
            # Naming what cannot be installed would keep latchkey out of the image, and its question with it.
            derror "latchkey: a token needs the network, and nothing here can bring it up in an initrd."
            derror "latchkey: install iproute2 for systemd-networkd, or NetworkManager; until then the question remains."
        fi
    fi
    # An SSH server, and a network that comes up with it: systemd-networkd can be told when.
    if latchkey_needs remote && ! latchkey_needs network; then
        if latchkey_has_networkd; then
            echo kernel-network-modules
        elif latchkey_can_network; then
            echo network
        fi
    fi
    return 0
}

# What the configured sticks need, and nothing else. The code pages are those that vfat asks for by itself.
latchkey_install_stick_drivers() {
    latchkey_needs usb && hostonly='' instmods xhci_pci xhci_plat_hcd ehci_pci ohci_pci uhci_hcd usb_storage uas sd_mod sr_mod
    latchkey_needs vfat && hostonly='' instmods vfat nls_cp437 nls_ascii nls_iso8859-1 nls_utf8
    latchkey_needs exfat && hostonly='' instmods exfat
    latchkey_needs ext4 && hostonly='' instmods ext4
    latchkey_needs iso9660 && hostonly='' instmods isofs
    return 0
}

# called by dracut
installkernel() {
    local _root_type
    # hostonly= : wanted although this machine may be running from another filesystem while the image is made.
    hostonly='' instmods bcachefs
    # The filesystem asks the kernel's crypto API for these by name, so they are no dependencies of the module. Newer kernels
    # have them as library code: instmods passes over what a kernel lacks.
    hostonly='' instmods \
        crypto-chacha20 crypto-poly1305 crypto-sha256 crypto-crc32c crypto-xxhash64 crypto-lz4 crypto-lz4hc crypto-zstd \
        chacha20poly1305 crc64

    # dracut's own crypt module brings the ciphers of the mappings that are open while the image is made. Key slots are read
    # through the kernel's crypto API, too.
    if latchkey_needs luks; then
        hostonly='' instmods dm_mod dm_crypt drbg algif_skcipher \
            crypto-aes crypto-xts crypto-cbc crypto-essiv crypto-serpent crypto-twofish crypto-adiantum \
            crypto-sha1 crypto-sha256 crypto-sha512
    fi

    latchkey_install_stick_drivers

    # Often built in, in Debian for example. Nothing of clevis and no TPM library is needed.
    # shellcheck disable=SC2154
    if latchkey_needs tpm; then hostonly='' instmods tpm tpm_crb tpm_tis tpm_tis_core; fi

    _root_type=$(findmnt --noheadings --output FSTYPE --target / 2> /dev/null)
    # shellcheck disable=SC2154
    if [[ $_root_type == bcachefs ]] && ! modinfo -k "$kernel" bcachefs &> /dev/null; then
        derror "latchkey: kernel $kernel has no bcachefs module, and / is a bcachefs: this image cannot mount it."
        derror "latchkey: the module left the kernel with 6.18: install the DKMS package of bcachefs for this kernel."
    fi
    return 0
}

# A stripped program is plain Bun: it ignores what it should do and takes orders from its arguments. Better no image.
latchkey_refuse() {
    dfatal "latchkey: $*"
    dfatal "latchkey: no image is made with a program that does not work; the old image stays as it is."
    # dracut does not look at what install() returns.
    exit 1
}

latchkey_install_program() {
    local _wanted _answer
    _wanted=$("${dracutsysrootdir-}"/usr/bin/latchkey --version 2> /dev/null)
    [[ $_wanted == "latchkey "* ]] \
        || latchkey_refuse "/usr/bin/latchkey answers --version with '$_wanted': it was stripped or is damaged"

    inst_binary /usr/bin/latchkey || latchkey_refuse "/usr/bin/latchkey could not be copied into the image"
    # Named too, because dracut finds libraries by running the loader, which it cannot in a foreign root.
    inst_libdir_file 'libc.so.6' 'libm.so.6' 'libpthread.so.0' 'libdl.so.2'

    # dracut strips all executable files after the modules have had their turn. This variable is read then, so it wins over
    # the configuration and over --strip. ("latchkey install" looks into the finished image as well.)
    # shellcheck disable=SC2034
    do_strip=no

    # shellcheck disable=SC2154
    if _answer=$("$initdir"/usr/bin/latchkey --version 2> /dev/null); then
        [[ $_answer == "$_wanted" ]] \
            || latchkey_refuse "the copy in the image answers --version with '$_answer', not '$_wanted'"
    else
        # A temporary directory mounted noexec: nothing can be run there, so compare.
        [[ $(sha256sum < "$initdir"/usr/bin/latchkey) == "$(sha256sum < "${dracutsysrootdir-}"/usr/bin/latchkey)" ]] \
            || latchkey_refuse "the copy in the image does not run, and differs from /usr/bin/latchkey"
    fi
}

# The configuration and the tokens, also into an image that is not hostonly: without them it could open less than this one.
latchkey_install_configuration() {
    local _file _files _key_files
    # Tokens, certificates and detached LUKS headers may lie elsewhere.
    _files=$("${dracutsysrootdir-}"/usr/bin/latchkey image-needs --files 2> /dev/null)
    while IFS= read -r _file; do
        [[ $_file == /* ]] || continue
        if [[ -f ${dracutsysrootdir-}$_file ]]; then
            inst_simple "$_file"
        else
            dwarn "latchkey: $_file is wanted in this image, and is not here."
        fi
    done <<< "$_files"
    _key_files=$("${dracutsysrootdir-}"/usr/bin/latchkey image-needs --key-files 2> /dev/null)
    while IFS= read -r _file; do
        [[ $_file == /* && -f ${dracutsysrootdir-}$_file ]] || continue
        inst_simple "$_file"
        dwarn "latchkey: $_file goes into this image, as the source keyfile wants it."
        dwarn "latchkey: ANYONE WHO READS /boot CAN OPEN THE DISK with it."
    done <<< "$_key_files"
    while IFS= read -r -d '' _file; do
        _file=${_file#"${dracutsysrootdir-}"}
        if [[ $_file == *.key ]]; then
            [[ $'\n'$_files$'\n'$_key_files$'\n' == *$'\n'"$_file"$'\n'* ]] && continue
            dwarn "latchkey: left $_file out: a key does not belong in an image that anyone with the disk can read."
        else
            inst_simple "$_file"
        fi
        # The folder, or what is in it, may be a link.
    done < <(find -L "${dracutsysrootdir-}"/etc/latchkey/ -type f -print0 2> /dev/null)
}

# Not enabled: latchkey-sshd.service starts it.
latchkey_install_networkd() {
    local _database
    # shellcheck disable=SC2154  # set by dracut, here and below
    inst_multiple "$systemdutildir"/systemd-networkd "$systemdutildir"/systemd-network-generator \
        "$systemdsystemunitdir"/systemd-networkd.service "$systemdsystemunitdir"/systemd-networkd.socket
    # shellcheck disable=SC2154
    inst_multiple -o "$tmpfilesdir"/systemd-network.conf "$systemdutildir"/networkd.conf "$systemdutildir/networkd.conf.d/*.conf" \
        "$systemdnetwork"/99-default.link
    # How this machine's cards are configured, where networkd does it.
    # shellcheck disable=SC2154
    if [[ ${hostonly-} ]]; then
        inst_multiple -H -o "$systemdutilconfdir"/networkd.conf "$systemdutilconfdir/networkd.conf.d/*.conf" "$systemdnetworkconfdir/*"
    fi
    # Its own user, and group.
    for _database in passwd group; do
        grep -qs '^systemd-network:' "$initdir/etc/$_database" \
            || grep '^systemd-network:' "${dracutsysrootdir-}/etc/$_database" >> "$initdir/etc/$_database"
    done
}

# The SSH server that a person answers over, where the configuration wants one. The program writes its keys and settings. An
# image that nobody could log in to is not made: the old one stays as it is.
latchkey_install_remote() {
    local _list _word _path _unit _status _line
    local _said=$initdir/latchkey-remote-said
    latchkey_needs remote || return 0
    _list=$("${dracutsysrootdir-}"/usr/bin/latchkey image-remote dracut "$initdir" 2> "$_said")
    _status=$?
    while IFS= read -r _line; do
        if [[ $_status == 0 ]]; then dwarn "$_line"; else dfatal "$_line"; fi
    done < "$_said"
    rm -f "$_said"
    if [[ $_status != 0 ]]; then
        dfatal "latchkey: no image is made without the SSH server that the configuration wants; the old image stays as it is."
        exit 1
    fi
    while read -r _word _path; do
        [[ $_word == program ]] && inst_multiple "$_path"
    done <<< "$_list"

    # shellcheck disable=SC2154
    if dracut_module_included systemd-networkd; then
        for _unit in systemd-networkd.service systemd-networkd.socket; do
            inst_simple "$moddir/networkd-latchkey.conf" "$systemdsystemunitdir/$_unit.d/latchkey.conf"
        done
    elif latchkey_is_networked; then
        # Others come up when dracut says so, with the boot.
        mkdir -p "$initdir/etc/cmdline.d"
        echo "rd.neednet=1" > "$initdir/etc/cmdline.d/90-latchkey-network.conf"
        dwarn "latchkey: not systemd-networkd but another program brings the network up in this image: it does so with every boot,"
        dwarn "latchkey: and its address is that of ip= on the kernel command line. [remote] network = … does not count."
    elif latchkey_has_networkd; then
        latchkey_install_networkd
    else
        dfatal "latchkey: the source remote wants the network, and nothing here can bring it up in an initrd."
        dfatal "latchkey: install systemd-networkd, or NetworkManager; the old image stays as it is."
        exit 1
    fi
    inst_multiple mkdir
    inst_script "$moddir/latchkey-remote-network.sh" /usr/lib/latchkey/remote-network
    inst_script "$moddir/latchkey-remote-start.sh" /usr/lib/latchkey/remote-start
    for _unit in latchkey-network.service latchkey-sshd.service; do
        inst_simple "$moddir/$_unit" "$systemdsystemunitdir/$_unit"
    done
}

# called by dracut
install() {
    local _unit
    latchkey_install_program
    latchkey_install_configuration

    latchkey_install_remote

    # dracut brings the network up only when told to. Which addresses is for the owner to say with ip=; DHCP otherwise.
    if latchkey_needs network; then
        mkdir -p "$initdir/etc/cmdline.d"
        echo "rd.neednet=1" > "$initdir/etc/cmdline.d/90-latchkey-network.conf"
    fi

    # What the second question and the mount need. With mount.bcachefs a root of several members is mounted by it, without it
    # by latchkey.
    inst_multiple -o bcachefs mount.bcachefs
    inst_multiple systemctl udevadm rm
    # Proves keys, and opens what systemd-cryptsetup is not there to open.
    inst_multiple -o cryptsetup sleep

    # shellcheck disable=SC2154
    for _unit in latchkey.service latchkey-fallback.service; do
        inst_simple "$moddir/$_unit" "$systemdsystemunitdir/$_unit"
        # shellcheck disable=SC2154
        $SYSTEMCTL -q --root "$initdir" add-wants initrd.target "$_unit"
    done
    for _unit in systemd-fsck-root.service sysroot.mount; do
        inst_simple "$moddir/sysroot-latchkey.conf" "$systemdsystemunitdir/$_unit.d/latchkey.conf"
    done
    inst_script "$moddir/latchkey-fallback.sh" /usr/lib/latchkey/fallback
    inst_simple "$moddir/cryptsetup-latchkey.conf" "$systemdsystemunitdir/systemd-cryptsetup@.service.d/latchkey.conf"
    inst_script "$moddir/latchkey-listening.sh" /usr/lib/latchkey/listening
    # After 64-btrfs.rules, whose decision it takes back where latchkey says so.
    inst_simple "$moddir/65-latchkey.rules" /usr/lib/udev/rules.d/65-latchkey.rules

    # The reason again, just above the emergency shell or before the power goes off.
    inst_hook emergency 50 "$moddir/latchkey-refused.sh"
    inst_hook shutdown-emergency 50 "$moddir/latchkey-refused.sh"
}
