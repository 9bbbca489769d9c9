import { ptr } from "bun:ffi";
import { mkdirSync, mkdtempSync, realpathSync, rmdirSync } from "node:fs";
import { LatchkeyError } from "../../system/errors.ts";
import { cString, lastErrno, libc } from "../../system/libc.ts";
import { type MountPlan, MS, mountError } from "./mount.ts";

/** The system calls a mount takes; tests record them. */
export interface MountCalls {
  /** mount(2). @returns 0 or errno */
  mount(source: string, target: string, type: string, flags: number, data: string): number;
  /** umount2(2) with MNT_DETACH. @returns 0 or errno */
  detach(target: string): number;
  /** An empty folder of our own. */
  makeFolder(): string;
  removeFolder(path: string): void;
  /** Symbolic links resolved; undefined when it does not exist. */
  realPath(path: string): string | undefined;
}

const EACCES = 13;
const EROFS = 30;
const MNT_DETACH = 2;

/**
 * Mounts what was planned. A write-protected device is mounted read-only instead, as the mount helper does.
 * @returns notes for the report
 * @throws LatchkeyError bcachefs/mount-failed; nothing stays mounted then
 */
export function runMount(plan: MountPlan, calls: MountCalls = systemCalls): readonly string[] {
  return plan.subfolder === undefined ? mountAt(plan, plan.target, calls) : mountSubfolder(plan, plan.subfolder, calls);
}

function mountAt(plan: MountPlan, target: string, calls: MountCalls): readonly string[] {
  const errno = calls.mount(plan.source, target, "bcachefs", plan.flags, plan.data);
  if (errno === 0) return [];
  const isProtected = errno === EROFS || errno === EACCES;
  if (isProtected && (plan.flags & MS.readOnly) === 0) {
    const second = calls.mount(plan.source, target, "bcachefs", plan.flags | MS.readOnly, plan.data);
    if (second === 0) return [`${plan.source} is write-protected and was mounted read-only`];
  }
  throw mountError(plan, errno);
}

/**
 * X-mount.subdir= by hand: mount(8) does it in user space, and failed to with the bcachefs helper (util-linux issue
 * 2834). The file system is mounted elsewhere, its subfolder is bound to the target, and the first mount is dropped.
 */
function mountSubfolder(plan: MountPlan, subfolder: string, calls: MountCalls): readonly string[] {
  return whileMounted(
    plan,
    (stage, notes) => {
      bindSubfolder(plan, stage, subfolder, calls);
      return notes;
    },
    calls,
  );
}

/**
 * Mounts the whole file system on a private folder, so that nobody else sees it there, for as long as the work takes.
 * @param work gets the folder, and notes for the report; it leaves nothing open there
 * @throws LatchkeyError bcachefs/mount-failed, and whatever `work` throws; nothing stays mounted
 */
export function whileMounted<T>(
  plan: MountPlan,
  work: (folder: string, notes: readonly string[]) => T,
  calls: MountCalls = systemCalls,
): T {
  const stage = calls.makeFolder();
  try {
    check(plan, calls.mount(stage, stage, "", MS.bind, ""));
    try {
      check(plan, calls.mount("", stage, "", MS.private, ""));
      const notes = mountAt(plan, stage, calls);
      try {
        return work(stage, notes);
      } finally {
        calls.detach(stage);
      }
    } finally {
      calls.detach(stage);
    }
  } finally {
    calls.removeFolder(stage);
  }
}

function bindSubfolder(plan: MountPlan, stage: string, subfolder: string, calls: MountCalls): void {
  const found = calls.realPath(`${stage}/${subfolder}`);
  // A symbolic link in the file system must not bind a folder of the initrd in place of the root.
  if (found === undefined || !found.startsWith(`${stage}/`)) {
    throw new LatchkeyError("bcachefs/mount-failed", `cannot mount ${plan.source}: it has no folder ${subfolder}`, {
      hint: "X-mount.subdir= must name a folder or subvolume in the file system",
    });
  }
  check(plan, calls.mount(found, plan.target, "", MS.bind, ""));
}

function check(plan: MountPlan, errno: number): void {
  if (errno !== 0) throw mountError(plan, errno);
}

/** The machine's own. */
const systemCalls: MountCalls = {
  mount(source, target, type, flags, data) {
    const [from, to, kind, options] = [cString(source), cString(target), cString(type), cString(data)];
    const result = libc().mount(ptr(from), ptr(to), ptr(kind), BigInt(flags), ptr(options));
    return result === 0 ? 0 : lastErrno();
  },
  detach(target) {
    const path = cString(target);
    return libc().umount2(ptr(path), MNT_DETACH) === 0 ? 0 : lastErrno();
  },
  makeFolder() {
    mkdirSync("/run/latchkey", { recursive: true, mode: 0o700 });
    return realpathSync(mkdtempSync("/run/latchkey/mount-"));
  },
  removeFolder: rmdirSync,
  realPath(path) {
    try {
      return realpathSync(path);
    } catch {
      return undefined;
    }
  },
};
