/**
 * Where the initrd of a kernel may be, in the order in which dracut's own lsinitrd looks, with Debian's and openSUSE's
 * names. The first that exists is the one this machine boots.
 */
export function imageCandidates(kernel: string, machineId: string | undefined): readonly string[] {
  const id = machineId === undefined || machineId === "uninitialized" ? "Default" : machineId;
  return [
    ...["/efi", "/boot", "/boot/efi"].map((base) => `${base}/${id}/${kernel}/initrd`),
    `/usr/lib/modules/${kernel}/initrd`,
    `/usr/lib/modules/${kernel}/initramfs.img`,
    `/boot/initrd.img-${kernel}`,
    `/boot/initramfs-${kernel}.img`,
    `/boot/initrd-${kernel}`,
  ];
}
