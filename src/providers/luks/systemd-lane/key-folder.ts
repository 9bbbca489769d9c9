import { chmodSync, lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, statfsSync } from "node:fs";
import { LatchkeyError } from "../../../system/errors.ts";
import { errnoName } from "../../../system/libc.ts";
import { type MountCalls, systemMountCalls } from "../../../system/mount-calls.ts";

/** Where systemd-cryptsetup looks for the key of a volume whose key field in crypttab is empty, crypttab(5). */
export const KEY_FOLDER = "/run/cryptsetup-keys.d";

/** statfs(2) */
const RAMFS = 0x858458f6;
const TMPFS = 0x01021994;
/** MS_NOSUID, MS_NODEV and MS_NOEXEC of mount(2). */
const MOUNT_FLAGS = 2 | 4 | 8;

/** What decides whether a file in a folder can come to lie on a disk. */
export interface FolderFacts {
  readonly filesystem: "ramfs" | "tmpfs" | "other";
  readonly isEmpty: boolean;
  /** A mount made here is seen by systemd, which is to read the key. */
  readonly mountsAreShared: boolean;
  /** Memory may be written to a disk; compressed in memory (zram) does not count. */
  readonly swaps: boolean;
}

/**
 * A ramfs stays in memory; a tmpfs may be swapped out. `mount`: put a ramfs over it first, which hides what is in it, so
 * only where nothing is.
 */
export function judgeFolder({ filesystem, isEmpty, mountsAreShared, swaps }: FolderFacts): "good" | "mount" | "unsafe" {
  if (filesystem === "ramfs") return "good";
  if (isEmpty && mountsAreShared) return "mount";
  return filesystem === "tmpfs" && !swaps ? "good" : "unsafe";
}

/** The folder for sockets and keys as systemd wants it: for root alone. @throws LatchkeyError system/run-directory */
export function makeKeyFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    if (!lstatSync(folder).isDirectory()) throw new Error("it is not a directory");
    chmodSync(folder, 0o700);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : "unknown";
    throw new LatchkeyError("system/run-directory", `cannot use ${folder}: ${reason}`, { cause });
  }
}

/**
 * The same, but such that what is in it never reaches a disk.
 * @throws LatchkeyError system/run-directory, stage/not-in-memory
 */
export function makeKeyFolderInMemory(
  folder: string,
  look: (folder: string) => FolderFacts = lookAtFolder,
  calls: Pick<MountCalls, "mount"> = systemMountCalls,
): void {
  makeKeyFolder(folder);
  const facts = look(folder);
  const judgement = judgeFolder(facts);
  if (judgement === "good") return;
  let why = facts.filesystem === "tmpfs" ? "it is a tmpfs, which may be swapped to a disk" : "it lies on a disk";
  if (judgement === "mount") {
    const mounted = calls.mount("latchkey", folder, "ramfs", MOUNT_FLAGS, "mode=0700");
    if (!("errno" in mounted)) return;
    if (facts.filesystem === "tmpfs" && !facts.swaps) return;
    why += `, and no ramfs can be mounted there (${errnoName(mounted.errno)})`;
  }
  throw new LatchkeyError("stage/not-in-memory", `no key is written to ${folder}: ${why}`, {
    hint: "the folder has to be empty for a ramfs to be mounted on it, or swap has to be off",
  });
}

export function lookAtFolder(folder: string): FolderFacts {
  const type = statfsSync(folder).type;
  return {
    filesystem: type === RAMFS ? "ramfs" : type === TMPFS ? "tmpfs" : "other",
    isEmpty: readdirSync(folder).length === 0,
    mountsAreShared: namespaceOf("self") === namespaceOf("1"),
    swaps: swapsToDisk(textOf("/proc/swaps")),
  };
}

/** @param text of /proc/swaps, proc(5): a heading, then a line for each swap area, its name first */
export function swapsToDisk(text: string): boolean {
  const [, ...areas] = text.split("\n").filter((line) => line.trim() !== "");
  return areas.some((line) => !/^\/dev\/zram\d+\s/.test(line));
}

function namespaceOf(process: string): string | undefined {
  try {
    return readlinkSync(`/proc/${process}/ns/mnt`);
  } catch {
    return undefined;
  }
}

/** Empty where it cannot be read: a kernel without swap has no such file. */
function textOf(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
