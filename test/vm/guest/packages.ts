/** What is in each guest. One list per chroot, because dracut and initramfs-tools conflict with each other. */

export type Stack = "dracut";

export interface GuestPackages {
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
  // Debian has it in experimental only; the trixie kernel mounts what it formats.
  "bcachefs-tools/experimental",
];

export const guestPackages: Readonly<Record<Stack, GuestPackages>> = {
  // With strip(1) there, dracut strips every executable file of its images, which would be the end of latchkey.
  dracut: { suite: "trixie", packages: [...common, "binutils", "dracut", "dracut-network", "iproute2"] },
};
