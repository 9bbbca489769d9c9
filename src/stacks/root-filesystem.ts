import type { Files } from "./files.ts";

/** Is the root filesystem of this machine a bcachefs: mounted now, or by fstab (in a chroot)? */
export function rootIsBcachefs(files: Files): boolean {
  const mounts = files.readText("/proc/self/mounts") ?? "";
  const table = files.readText("/etc/fstab") ?? "";
  return `${mounts}\n${table}`.split("\n").some((line) => {
    const [source = "", folder, type] = line.trim().split(/\s+/);
    return !source.startsWith("#") && folder === "/" && type === "bcachefs";
  });
}
