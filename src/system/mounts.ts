import {
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readSync,
  rmdirSync,
} from "node:fs";
import { join } from "node:path";
import { LatchkeyError } from "./errors.ts";
import { errnoName } from "./libc.ts";
import { type CallResult, ENOSYS, type MountCalls, systemMountCalls } from "./mount-calls.ts";
import { RUN_DIRECTORY } from "./run-directory.ts";

/** The filesystems that key files are read from, by the names of their drivers in the kernel. */
export type FilesystemType = "vfat" | "exfat" | "ext4" | "iso9660";

export interface MountParts {
  readonly calls: MountCalls;
  /** Where a kernel without fsopen(2) gets its mount point; the folder is made 0700. */
  readonly runFolder: string;
}

const systemParts: MountParts = { calls: systemMountCalls, runFolder: RUN_DIRECTORY };

/** include/uapi/linux/mount.h; the attributes of fsmount(2) have the same values as the flags of mount(2) for these. */
const RDONLY = 1;
const NOSUID = 2;
const NODEV = 4;
const NOEXEC = 8;
const ATTRIBUTES = RDONLY | NOSUID | NODEV | NOEXEC;
const MS_REC_PRIVATE = 0x4000 | 0x40000;
const CLONE_NEWNS = 0x20000;

/** include/uapi/linux/openat2.h: no other mount, no links of /proc, no symbolic links, nothing above the folder. */
const RESOLVE = { noXdev: 1, noMagiclinks: 2, noSymlinks: 4, beneath: 8 } as const;
const RESOLVE_ALL = RESOLVE.noXdev | RESOLVE.noMagiclinks | RESOLVE.noSymlinks | RESOLVE.beneath;

/** The same value on x86-64 and arm64, include/uapi/asm-generic/fcntl.h; node has no names for them. */
const O_CLOEXEC = 0o2000000;
const O_PATH = 0o10000000;
const { O_RDONLY, O_NONBLOCK, O_NOFOLLOW, O_NOCTTY, O_DIRECTORY, O_DIRECT } = constants;

const EBUSY = 16;
const EINVAL = 22;
const MESSAGE_BYTES = 512;
/** The folder for a mount of kernels without fsopen(2), with the process that made it. */
const STAGE_NAME = /^stick-(\d+)-/;

type Options = readonly (readonly [string] | readonly [string, string])[];

/**
 * Options beyond read-only. ext4 replays its journal even when mounted read-only, and nothing is to be written to the stick.
 * vfat: names as the configuration has them, without a table of its own for that.
 */
const OPTIONS: Readonly<Record<FilesystemType, Options>> = {
  vfat: [["utf8", "1"]],
  exfat: [],
  ext4: [["noload"]],
  iso9660: [],
};

/**
 * A filesystem mounted read-only where nobody else sees it: in no namespace, so that it is gone when this is disposed or the
 * process ends, however it ends. Every method may block for as long as the device does.
 */
export class ReadOnlyMount implements Disposable {
  readonly #folder: number;
  readonly #calls: MountCalls;

  private constructor(folder: number, calls: MountCalls) {
    this.#folder = folder;
    this.#calls = calls;
  }

  /** @throws LatchkeyError key-file/mount-failed, key-file/no-driver */
  static open(device: string, type: FilesystemType, parts: MountParts = systemParts): ReadOnlyMount {
    const context = parts.calls.fsopen(type);
    if ("value" in context) {
      closeSync(context.value); // attempts have contexts of their own
      return new ReadOnlyMount(detachedMount(device, type, parts.calls), parts.calls);
    }
    if (context.errno === ENOSYS) return new ReadOnlyMount(classicMount(device, type, parts), parts.calls);
    throw mountError(device, type, context.errno, "");
  }

  /**
   * Opens a file by its path below the mount's root. No symbolic link on the way is followed, and no way leads out.
   * @param isDirect O_DIRECT: what is read does not stay in the kernel's memory; EINVAL where the driver cannot
   * @returns a descriptor, or the errno
   */
  openFile(path: string, isDirect: boolean): CallResult {
    const flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | (isDirect ? O_DIRECT : 0);
    const opened = this.#calls.openat2(this.#folder, path, flags, RESOLVE_ALL);
    if ("value" in opened || opened.errno !== ENOSYS) return opened;
    return openStepwise(this.#folder, path, flags, this.#calls);
  }

  [Symbol.dispose](): void {
    closeSync(this.#folder);
  }
}

/** Mounts that a crash left behind on a kernel without fsopen(2). */
export function sweepMounts(parts: MountParts = systemParts): void {
  let names: readonly string[];
  try {
    names = readdirSync(parts.runFolder);
  } catch {
    return;
  }
  for (const name of names) {
    const [, owner] = STAGE_NAME.exec(name) ?? [];
    if (owner === undefined || existsSync(`/proc/${owner}`)) continue;
    const folder = join(parts.runFolder, name);
    parts.calls.detach(folder);
    try {
      rmdirSync(folder);
    } catch {
      // Something else is in it: then it is none of ours.
    }
  }
}

/**
 * The same for writing, without set-user-ID bits, devices and programs.
 * @returns a descriptor of its top folder, and with it the mount
 * @throws LatchkeyError key-file/mount-failed, key-file/no-driver
 */
export function mountForWriting(device: string, type: FilesystemType, calls: MountCalls): number {
  const mounted = tryDetached(device, type, type === "vfat" ? OPTIONS.vfat : [], ATTRIBUTES & ~RDONLY, calls);
  if ("value" in mounted) return mounted.value;
  throw mountError(device, type, mounted.errno, mounted.reason);
}

function detachedMount(device: string, type: FilesystemType, calls: MountCalls): number {
  const first = tryDetached(device, type, [["ro"], ...OPTIONS[type]], ATTRIBUTES, calls);
  if ("value" in first) return first.value;
  // Mounted for writing elsewhere, by a desktop: the kernel has one superblock per device, and shares it with us read-only.
  const second = first.errno === EBUSY ? tryDetached(device, type, OPTIONS[type], ATTRIBUTES, calls) : first;
  if ("value" in second) return second.value;
  throw mountError(device, type, second.errno, second.reason);
}

function tryDetached(
  device: string,
  type: FilesystemType,
  options: Options,
  attributes: number,
  calls: MountCalls,
): { readonly value: number } | { readonly errno: number; readonly reason: string } {
  const context = calls.fsopen(type);
  if ("errno" in context) return { ...context, reason: "" };
  try {
    for (const [name, value] of [["source", device] as const, ...options]) {
      const set = calls.fsconfig(context.value, name, value);
      if ("errno" in set) return { ...set, reason: messageOf(context.value) };
    }
    const created = calls.create(context.value);
    if ("errno" in created) return { ...created, reason: messageOf(context.value) };
    const mounted = calls.fsmount(context.value, attributes);
    return "errno" in mounted ? { ...mounted, reason: messageOf(context.value) } : mounted;
  } finally {
    closeSync(context.value);
  }
}

/** What the filesystem says about its refusal: reading the context gives a line at a time, `e ext4: …` (fsopen(2)). */
function messageOf(context: number): string {
  const room = new Uint8Array(MESSAGE_BYTES);
  try {
    const text = new TextDecoder().decode(room.subarray(0, readSync(context, room)));
    return text.replace(/^[ewi] /, "").trim();
  } catch {
    return ""; // ENODATA: it says nothing
  }
}

/** For kernels before 5.2. In a namespace of this process if it may have one; visible at most until the folder is open. */
function classicMount(device: string, type: FilesystemType, { calls, runFolder }: MountParts): number {
  if ("value" in calls.unshare(CLONE_NEWNS)) calls.mount("none", "/", "", MS_REC_PRIVATE, "");
  mkdirSync(runFolder, { recursive: true, mode: 0o700 });
  const folder = mkdtempSync(join(runFolder, `stick-${process.pid}-`)); // 0700, mkdtemp(3)
  try {
    const data = OPTIONS[type].map((words) => words.join("=")).join(",");
    const mounted = calls.mount(device, folder, type, ATTRIBUTES, data);
    if ("errno" in mounted) throw mountError(device, type, mounted.errno, "");
    try {
      return openSync(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    } finally {
      calls.detach(folder);
    }
  } finally {
    rmdirSync(folder);
  }
}

/** openat2(2) for kernels before 5.6: one step at a time, none of them through a link. The path has no `.` and no `..`. */
function openStepwise(folder: number, path: string, flags: number, calls: MountCalls): CallResult {
  const steps = path.split("/");
  const name = steps.pop() ?? "";
  let here = folder;
  try {
    for (const step of steps) {
      if (step === ".." || step === "." || step === "") return { errno: EINVAL };
      const next = calls.openat(here, step, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
      if ("errno" in next) return next;
      if (here !== folder) closeSync(here);
      here = next.value;
    }
    if (name === ".." || name === "." || name === "") return { errno: EINVAL };
    return calls.openat(here, name, flags | O_NOFOLLOW);
  } finally {
    if (here !== folder) closeSync(here);
  }
}

const ENODEV = 19;

function mountError(device: string, type: FilesystemType, errno: number, reason: string): LatchkeyError {
  if (errno === ENODEV) {
    return new LatchkeyError(
      "key-file/no-driver",
      `${device} holds ${type}, and the kernel has no driver for it here`,
      {
        hint: "`latchkey install` puts the drivers of the configured sticks into the initrd",
      },
    );
  }
  const why = reason === "" ? errnoName(errno) : `${errnoName(errno)}: ${reason}`;
  return new LatchkeyError("key-file/mount-failed", `the ${type} on ${device} cannot be mounted (${why})`, {
    hint: "the filesystem may be damaged: check it on a running system, or use another stick",
  });
}
