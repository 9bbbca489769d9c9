import { areBothUuids, isSameReference, parseDeviceReference } from "./device-reference.ts";
import { isRootMount, takesRootFromFstab } from "./found-volumes.ts";
import type { Fstab } from "./fstab.ts";
import type { KernelCommandLine } from "./kernel-command-line.ts";
import { holdsUnprintable } from "./parsed.ts";
import type { RootMountPlan } from "./plan.ts";

/**
 * Options for programs, not for the kernel: mount(8) and systemd take them out. The bcachefs module ignores what it does not
 * know without a word, so nobody would notice that they were passed on.
 */
const userSpaceOption =
  /^(?:x-|X-|comment=)|^(?:defaults|auto|noauto|fail|nofail|_netdev|owner|group|(?:no)?users?)(?:=|$)/;

/**
 * How to mount the root. Options are those of `rootflags=`, or else of fstab's line for the root. Read-only unless `rw` says
 * otherwise, since the system remounts it (bootparam(7)); with `root=fstab` that line alone counts, as for systemd.
 */
export function planRootMount(kernel: KernelCommandLine, fstab: Fstab | undefined): RootMountPlan {
  const fromFstab = rootOptionsOfFstab(kernel, fstab);
  const given = kernel.rootFlags.length > 0 ? kernel.rootFlags : fromFstab;
  const readOnly = takesRootFromFstab(kernel)
    ? lastOf(fromFstab, ["ro", "rw"]) === "ro"
    : (kernel.rootReadOnly ?? lastOf(kernel.rootFlags, ["ro", "rw"]) !== "rw");
  const options = given.filter((option) => option !== "ro" && option !== "rw" && !userSpaceOption.test(option));
  const subdirectory = subdirectoryOf(given);
  return { options, readOnly, ...(subdirectory === undefined ? {} : { subdirectory }) };
}

/** The root is mounted without its missing members: whoever says so wants it opened without them, too. */
export function mountsDegraded({ options }: RootMountPlan): boolean {
  return options.some((option) => /^(?:degraded|very_degraded|degraded=(?:yes|very|1))$/.test(option));
}

function rootOptionsOfFstab(kernel: KernelCommandLine, fstab: Fstab | undefined): readonly string[] {
  const entry = fstab?.entries.find((candidate) => isRootMount(candidate) && candidate.type === "bcachefs");
  if (entry === undefined) return [];
  if (takesRootFromFstab(kernel)) return entry.options;
  // A line about another filesystem (a rescue boot) has nothing to say about this one.
  const named = parseDeviceReference(kernel.root ?? "");
  const listed = parseDeviceReference(entry.device);
  if ("problem" in named || "problem" in listed) return entry.options;
  const isOther = areBothUuids(named.value, listed.value) && !isSameReference(named.value, listed.value);
  return isOther ? [] : entry.options;
}

function lastOf(options: readonly string[], wanted: readonly string[]): string | undefined {
  return options.findLast((option) => wanted.includes(option));
}

/** A path inside the filesystem: one that climbs out of it is not used. */
function subdirectoryOf(options: readonly string[]): string | undefined {
  const option = options.findLast((candidate) => candidate.startsWith("X-mount.subdir="));
  const path = option?.slice("X-mount.subdir=".length).replace(/^"(.*)"$/, "$1");
  const parts = path?.split("/").filter((part) => part !== "" && part !== ".") ?? [];
  if (parts.length === 0 || parts.includes("..") || holdsUnprintable(parts.join("/"))) return undefined;
  return parts.join("/");
}
