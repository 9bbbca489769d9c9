import type { Member } from "./fields.ts";
import type { Superblock } from "./superblock.ts";

/** A device with a good superblock. */
export interface MemberDevice {
  readonly path: string;
  readonly superblock: Superblock;
  /** Another device is built on it: where both show the same superblock, that other one is to be used. */
  readonly isHeld: boolean;
}

/** The devices of one file system, and what is missing. */
export interface FilesystemView {
  /** Its crypt field and its member table decide, as in the kernel. */
  readonly newest: MemberDevice;
  /** One per slot, ascending: what a mount is to be given. */
  readonly devices: readonly MemberDevice[];
  /** Members of the newest table that no usable device is. */
  readonly missing: readonly Member[];
  /** What was left out and why, one line each. */
  readonly notes: readonly string[];
}

/** bcachefs_metadata_version_member_seq, 1.4: before it the kernel looks for no split brain. */
const MEMBER_SEQUENCE_VERSION = (1 << 10) | 4;

/**
 * Sorts out which devices make up a file system, by the kernel's rules (sb_cmp of fs/init/fs.c, bch2_dev_in_fs of
 * fs/init/dev.c): the newest superblock decides, by sequence number and then by write time; a device it knows nothing of
 * was removed; one that was written to without the others (split brain) is not used.
 * @param candidates devices with one and the same internal UUID, at least one
 */
export function viewFilesystem(candidates: readonly [MemberDevice, ...MemberDevice[]]): FilesystemView {
  const notes: string[] = [];
  const newest = candidates.toSorted(byPrecedence)[0] ?? candidates[0];
  const usable = candidates.filter((device) => {
    const objection = device === newest ? undefined : objectionTo(device, newest);
    if (objection !== undefined) notes.push(`${device.path} is left out: ${objection}`);
    return objection === undefined;
  });
  const bySlot = Map.groupBy(usable, ({ superblock }) => superblock.deviceIndex);
  const devices: MemberDevice[] = [];
  for (const [slot, same] of [...bySlot].sort(([a], [b]) => a - b)) {
    const [first, ...others] = same.toSorted(byPrecedence);
    if (first) devices.push(first);
    for (const { path } of others) {
      notes.push(
        `${path} is left out: it is the same member (slot ${slot}) as ${first?.path}, by another path or a copy`,
      );
    }
  }
  const found = new Set(devices.map(({ superblock }) => superblock.deviceIndex));
  const missing = newest.superblock.members.filter(({ index }) => !found.has(index));
  return { newest, devices, missing, notes };
}

/** sb_cmp of fs/init/fs.c; among equals what nothing is built on, then device mapper's node before the disk's. */
function byPrecedence(a: MemberDevice, b: MemberDevice): number {
  return (
    compare(b.superblock.sequence, a.superblock.sequence) ||
    compare(b.superblock.writeTime, a.superblock.writeTime) ||
    Number(a.isHeld) - Number(b.isHeld) ||
    compare(b.path.includes("/dm-"), a.path.includes("/dm-")) ||
    compare(a.path, b.path)
  );
}

function compare<T extends bigint | string | boolean>(a: T, b: T): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Why the kernel would not use a device together with the newest. */
function objectionTo({ superblock }: MemberDevice, { path, superblock: newest }: MemberDevice): string | undefined {
  const entry = newest.members.find(({ index }) => index === superblock.deviceIndex);
  if (!entry) return `it was removed from the file system, says ${path}`;
  if (superblock.self && superblock.self.uuid !== entry.uuid) {
    return `it was removed from the file system and another device has its slot, says ${path}`;
  }
  if (superblock.version < MEMBER_SEQUENCE_VERSION || newest.version < MEMBER_SEQUENCE_VERSION) return undefined;
  if (superblock.sequence === newest.sequence && superblock.writeTime !== newest.writeTime) {
    return `split brain, it and ${path} were written to without each other (same sequence, other time)`;
  }
  if (entry.sequence !== 0n && entry.sequence < superblock.sequence) {
    return `split brain, it was written to without ${path} (sequence ${superblock.sequence}, known there: ${entry.sequence})`;
  }
  return undefined;
}

/** `slot 1 (member 9ec5f992-…, last seen as sdb)`, for messages about what is missing. */
export function memberText(member: Member): string {
  const lastSeen = member.lastName === "" ? "" : `, last seen as ${member.lastName}`;
  return `slot ${member.index} (member ${member.uuid}${lastSeen})`;
}
