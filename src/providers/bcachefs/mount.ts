import { readFile } from "node:fs/promises";
import { LatchkeyError } from "../../system/errors.ts";

/** Flags of mount(2), include/uapi/linux/mount.h. */
export const MS = {
  readOnly: 1,
  noSuid: 2,
  noDev: 4,
  noExec: 8,
  synchronous: 16,
  dirSync: 128,
  noSymFollow: 256,
  noAtime: 1024,
  noDirAtime: 2048,
  bind: 4096,
  silent: 32768,
  private: 1 << 18,
  relAtime: 1 << 21,
  strictAtime: 1 << 24,
  lazyTime: 1 << 25,
} as const;

/** Option -> what it sets and clears among the flags; all else goes to the file system as text. */
const flagOptions: Readonly<Record<string, { readonly set?: number; readonly clear?: number }>> = {
  ro: { set: MS.readOnly },
  rw: { clear: MS.readOnly },
  nosuid: { set: MS.noSuid },
  suid: { clear: MS.noSuid },
  nodev: { set: MS.noDev },
  dev: { clear: MS.noDev },
  noexec: { set: MS.noExec },
  exec: { clear: MS.noExec },
  sync: { set: MS.synchronous },
  async: { clear: MS.synchronous },
  dirsync: { set: MS.dirSync },
  nosymfollow: { set: MS.noSymFollow },
  symfollow: { clear: MS.noSymFollow },
  noatime: { set: MS.noAtime, clear: MS.relAtime | MS.strictAtime },
  atime: { clear: MS.noAtime },
  nodiratime: { set: MS.noDirAtime },
  diratime: { clear: MS.noDirAtime },
  relatime: { set: MS.relAtime, clear: MS.noAtime | MS.strictAtime },
  norelatime: { clear: MS.relAtime },
  strictatime: { set: MS.strictAtime, clear: MS.noAtime | MS.relAtime },
  nostrictatime: { clear: MS.strictAtime },
  lazytime: { set: MS.lazyTime },
  nolazytime: { clear: MS.lazyTime },
  silent: { set: MS.silent },
  loud: { clear: MS.silent },
  defaults: { clear: MS.readOnly | MS.noSuid | MS.noDev | MS.noExec | MS.synchronous },
};

/**
 * Options of mount(8) and fstab(5) that no kernel knows. bcachefs ignores what it does not know without a word, so that
 * leaving them in would do no harm today; a kernel that becomes strict must not stop a boot.
 */
const USER_SPACE =
  /^(?:x-.*|X-.*|auto|noauto|nofail|_netdev|_rnetdev|users?|nousers?|user=.*|owner|group|comment=.*|mand|nomand)$/;
const SUBFOLDER = /^X-mount\.subdir=(.*)$/;

/** mount(2) copies one page for the source and one for the options, NUL included. */
const PAGE_TEXT_BYTES = 4095;

export interface MountRequest {
  /** All members, as nodes of /dev. */
  readonly devices: readonly string[];
  readonly target: string;
  /** As in fstab or rootflags=, one per entry; quoting is not supported, since bcachefs has no option that needs it. */
  readonly options: readonly string[];
  /** `ro` on the kernel command line; a `rw` among the options has the last word. */
  readonly readOnly: boolean;
  /** Members are missing and policy allows to go on. */
  readonly degraded: boolean;
}

/** A mount(2) call, spelled out. */
export interface MountPlan {
  readonly source: string;
  readonly target: string;
  readonly flags: number;
  /** The options bcachefs itself reads. */
  readonly data: string;
  /** A folder of the file system that is to become the target, from X-mount.subdir=. */
  readonly subfolder: string | undefined;
}

/**
 * What to tell the kernel: all members joined by colons, flags and options apart, what is meant for user space left out.
 * Options that are not known here are kept, since kernels differ.
 * @throws LatchkeyError bcachefs/mount-failed when mount(2) could not carry it
 */
export function planMount({ devices, target, options, readOnly, degraded }: MountRequest): MountPlan {
  const colon = devices.find((device) => device.includes(":"));
  if (colon !== undefined) throw refusal(`${colon} has a colon in its name, which separates members in a mount source`);
  let flags = readOnly ? MS.readOnly : 0;
  let subfolder: string | undefined;
  const kept: string[] = [];
  for (const option of options.flatMap((text) => text.split(",")).map((text) => text.trim())) {
    const flag = Object.hasOwn(flagOptions, option) ? flagOptions[option] : undefined;
    if (flag) flags = (flags & ~(flag.clear ?? 0)) | (flag.set ?? 0);
    else if (SUBFOLDER.test(option)) subfolder = checkedSubfolder(SUBFOLDER.exec(option)?.[1] ?? "");
    else if (option !== "" && !USER_SPACE.test(option)) kept.push(option);
  }
  if (degraded && !kept.some((option) => /^(?:very_)?degraded(?:=|$)/.test(option))) kept.push("degraded");
  const plan = { source: devices.join(":"), target, flags, data: kept.join(","), subfolder };
  for (const text of [plan.source, plan.data]) {
    if (Buffer.byteLength(text) > PAGE_TEXT_BYTES)
      throw refusal(`source or options are longer than ${PAGE_TEXT_BYTES} bytes`);
  }
  return plan;
}

function checkedSubfolder(text: string): string | undefined {
  const parts = text.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.includes("..")) throw refusal(`X-mount.subdir=${text} leaves the file system`);
  return parts.length === 0 ? undefined : parts.join("/");
}

function refusal(reason: string): LatchkeyError {
  return new LatchkeyError("bcachefs/mount-failed", `cannot mount bcachefs: ${reason}`);
}

/**
 * Without the module there is nothing to unlock for; ask after `modprobe bcachefs`. Since 6.18 it comes from outside the
 * kernel (DKMS).
 */
export async function kernelKnowsBcachefs(proc = "/proc"): Promise<boolean> {
  const text = await readFile(`${proc}/filesystems`, "utf8").catch(() => "");
  return text.split("\n").some((line) => line.split("\t")[1] === "bcachefs");
}

/** What errno of mount(2) means here: [what, what to do]. */
const meanings: Readonly<Record<number, readonly [string, string?]>> = {
  1: ["only root may mount"],
  2: ["the target folder does not exist"],
  5: ["a device gave an I/O error", "the kernel's log (dmesg) names it"],
  6: ["a device is not there any longer"],
  12: ["the kernel has no memory for it"],
  13: ["a device is write-protected"],
  15: ["a member is not a block device"],
  16: ["a device or the target is in use, or it is mounted already"],
  19: ["this kernel has no bcachefs", "install the bcachefs module (DKMS since 6.18) and put it into the initrd"],
  22: [
    "the kernel refused it: too few members, a key that does not fit, or a damaged file system",
    "the kernel's log (dmesg) says which; with members missing, rootflags=degraded goes on without them",
  ],
  28: ["no space left on the device"],
  30: ["a device is read-only"],
  117: ["the file system needs repair", "run bcachefs fsck"],
  126: ["the kernel did not find its key (ENOKEY)", "the key must be visible to the process that mounts"],
  129: ["the kernel rejected its key"],
};

/** @param errno of mount(2) */
export function mountError(plan: MountPlan, errno: number): LatchkeyError {
  const [meaning, hint] = meanings[errno] ?? [`errno ${errno}`];
  return new LatchkeyError(
    "bcachefs/mount-failed",
    `cannot mount ${plan.source} on ${plan.target}: ${meaning}`,
    hint === undefined ? {} : { hint },
  );
}
