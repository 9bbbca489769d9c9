import { join } from "node:path";
import type { Files } from "./files.ts";
import { type Finding, failure, ok } from "./image-audit.ts";
import { findKernelModule } from "./kernel-module.ts";

/** For each word of `latchkey image-needs` that means drivers: kernel modules, one of which does. */
const DRIVERS: Readonly<Record<string, readonly string[]>> = {
  luks: ["dm_crypt"],
  tpm: ["tpm_crb", "tpm_tis"],
  usb: ["usb_storage", "uas"],
  vfat: ["vfat"],
  exfat: ["exfat"],
  ext4: ["ext4"],
  iso9660: ["isofs"],
};

/**
 * Has the image the drivers that its volumes, tokens and sticks need? What the kernel has nowhere is no fault of the image's: it
 * may be a part of the kernel under another name.
 */
export function auditDrivers(
  files: Files,
  tree: string,
  kernel: string,
  needs: ReadonlySet<string>,
): readonly Finding[] {
  const folder = join("/usr/lib/modules", kernel);
  const has = (where: string, module: string): boolean => {
    const found = findKernelModule(files, join(where, folder), module);
    return found === "present" || found === "built-in";
  };
  const wanted = [...needs].sort().map((need) => [need, DRIVERS[need] ?? []] as const);
  const missing = wanted.filter(([, modules]) => {
    return modules.some((module) => has("/", module)) && !modules.some((module) => has(tree, module));
  });
  return missing.length === 0
    ? [ok("the drivers that volumes, tokens and sticks need are in the image")]
    : missing.map(([need, modules]) =>
        failure(`the kernel module ${modules.join(" or ")} is not in the image (for ${need})`),
      );
}
