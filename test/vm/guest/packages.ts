/** What is in each guest. One list per chroot, because dracut and initramfs-tools conflict with each other. */

export type Stack = "dracut" | "initramfs-tools";

/** A guest with other packages than its stack usually has, because they change how every image of it boots. */
export type GuestName = Stack | "dracut-clevis" | "initramfs-tools-ssh" | "initramfs-tools-stacked";

export interface GuestPackages {
  readonly stack: Stack;
  readonly suite: string;
  readonly packages: readonly string[];
}

/** In every guest: a kernel, an init, and what the tiny root and the disk images are made with. */
const common = [
  "systemd-sysv",
  "udev",
  "kmod",
  "zstd",
  "busybox-static",
  "linux-image-amd64",
  "keyutils",
  "cryptsetup-bin",
  // Without it dracut's crypt module is there but does nothing: "Unit cryptsetup.target does not exist".
  "systemd-cryptsetup",
  "e2fsprogs",
  "btrfs-progs",
  // Debian has it in experimental only; the trixie kernel mounts what it formats.
  "bcachefs-tools/experimental",
];

/** With clevis, whose scripts may be in one image with latchkey's. */
const initramfsTools = [
  ...common,
  ...["binutils", "initramfs-tools", "cryptsetup-initramfs", "clevis-luks", "clevis-tpm2", "clevis-initramfs"],
];

export const guestPackages: Readonly<Record<GuestName, GuestPackages>> = {
  // With strip(1) there, dracut strips every executable file of its images, which would be the end of latchkey.
  dracut: {
    stack: "dracut",
    suite: "trixie",
    packages: [...common, "binutils", "dracut", "dracut-network", "iproute2", "dropbear-bin", "openssh-server"],
  },
  // What latchkey is measured against: clevis in every image that dracut makes.
  "dracut-clevis": {
    stack: "dracut",
    suite: "trixie",
    packages: [...common, "dracut", "clevis-luks", "clevis-tpm2", "clevis-dracut", "clevis-systemd"],
  },
  "initramfs-tools": { stack: "initramfs-tools", suite: "trixie", packages: initramfsTools },
  // Without a network card such an image waits a minute for one at each boot.
  "initramfs-tools-ssh": {
    stack: "initramfs-tools",
    suite: "trixie",
    packages: [...initramfsTools, "dropbear-initramfs", "openssh-server"],
  },
  // What makes block devices of others: RAID below LUKS, LVM inside of it, as Debian's installer lays disks out.
  "initramfs-tools-stacked": {
    stack: "initramfs-tools",
    suite: "trixie",
    packages: [...initramfsTools, "lvm2", "mdadm"],
  },
};
