import { join } from "node:path";
import { type Finding, failure, ok } from "./image-audit.ts";
import { findKernelModule } from "./kernel-module.ts";
import type { Machine } from "./machine.ts";
import type { Stack } from "./stack.ts";

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
 * Has the image what its volumes, tokens and sticks need beside latchkey: drivers, and a network? A token in a LUKS header may be
 * newer than it. What the kernel has nowhere is no fault of the image's: it may be a part of the kernel under another name.
 */
export function auditNeeds(
  machine: Machine,
  stack: Stack,
  tree: string,
  kernel: string,
  needs: ReadonlySet<string>,
): readonly Finding[] {
  const folder = join("/usr/lib/modules", kernel);
  const find = (where: string, module: string) => findKernelModule(machine.files, join(where, folder), module);
  const missing = [...needs].sort().flatMap((need) => {
    const modules = DRIVERS[need] ?? [];
    const here = modules.map((module) => find("/", module));
    const there = modules.map((module) => find(tree, module));
    const isThere = here.includes("built-in") || there.includes("present") || there.includes("built-in");
    const isMissing = here.includes("present") && !isThere;
    return isMissing ? [failure(`the kernel module ${modules.join(" or ")} is not in the image (for ${need})`)] : [];
  });
  const isOffline = needs.has("network") && !stack.bringsNetwork(machine, tree);
  const offline = isOffline ? [failure("a token wants a Tang server, and the image brings no network up")] : [];
  const findings = [...missing, ...offline];
  return findings.length > 0 ? findings : [ok("what volumes, tokens and sticks need is in the image")];
}
