import type { MemberDevice } from "../providers/bcachefs/members.ts";
import { readSuperblock } from "../providers/bcachefs/read.ts";
import type { BlockDevices, OpenBlockReader } from "../system/block-devices.ts";
import { type BtrfsSuperblock, readBtrfs } from "../system/btrfs.ts";
import type { Clock } from "../system/clock.ts";
import { asLatchkeyError } from "../system/errors.ts";

/** What lies in a mapping that was opened, as far as latchkey knows filesystems of several devices. */
export type Contents =
  | { readonly kind: "btrfs"; readonly superblock: BtrfsSuperblock }
  | { readonly kind: "bcachefs"; readonly device: MemberDevice }
  /** There is one of these filesystems, or there may be, and what it says of itself cannot be used. */
  | { readonly kind: "unreadable"; readonly problem: string }
  /** Something else, or nothing. */
  | { readonly kind: "other" };

/** Milliseconds for a mapping to give its superblocks; a disk that fails may take minutes. */
const READ_LIMIT = 5000;

/** Reads what an opened mapping holds. Never throws, and never takes longer than READ_LIMIT. */
export async function readContents(devices: Pick<BlockDevices, "open">, path: string, clock: Clock): Promise<Contents> {
  const done = new AbortController();
  const late = clock.sleep(READ_LIMIT, done.signal).then((): Contents => {
    return { kind: "unreadable", problem: `it did not answer within ${READ_LIMIT / 1000} s` };
  });
  try {
    return await Promise.race([readNow(devices, path), late]);
  } catch (thrown) {
    return { kind: "unreadable", problem: asLatchkeyError(thrown).message };
  } finally {
    done.abort();
  }
}

async function readNow(devices: Pick<BlockDevices, "open">, path: string): Promise<Contents> {
  await using reader = await devices.open(path);
  const btrfs = await readBtrfs(reader);
  if (btrfs === undefined) return await readBcachefs(reader);
  if ("problem" in btrfs) return { kind: "unreadable", problem: `its btrfs is damaged: ${btrfs.problem}` };
  return { kind: "btrfs", superblock: btrfs };
}

async function readBcachefs(reader: OpenBlockReader): Promise<Contents> {
  try {
    const { superblock } = await readSuperblock(reader);
    return { kind: "bcachefs", device: { path: reader.path, superblock, isHeld: false } };
  } catch (thrown) {
    const { code, message } = asLatchkeyError(thrown);
    return code === "bcachefs/not-bcachefs" ? { kind: "other" } : { kind: "unreadable", problem: message };
  }
}
