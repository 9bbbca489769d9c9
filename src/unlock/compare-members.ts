import { type MemberDevice, memberText, viewFilesystem } from "../providers/bcachefs/members.ts";
import type { BtrfsSuperblock } from "../system/btrfs.ts";
import { LatchkeyError } from "../system/errors.ts";
import type { Contents } from "./contents.ts";

/** A member of a pool that is open, with what it holds. */
export interface OpenMember {
  readonly volume: string;
  readonly contents: Contents;
}

/** A difference between the pool as configured and the filesystem's own word, with what a person can do about it. */
export interface Finding {
  readonly text: string;
  readonly hint: string;
}

export interface Comparison {
  /** What must not stay open together: nothing may mount it. */
  readonly error: LatchkeyError | undefined;
  readonly warnings: readonly Finding[];
}

/** One filesystem of which the pool has members. */
interface Filesystem {
  readonly key: string;
  /** `btrfs "tank" (6c61…)` */
  readonly name: string;
  /** How many devices it has by its own word. */
  readonly devices: number;
  /** Each member with what tells it from all others, and with its number in people's words. */
  readonly members: readonly { readonly volume: string; readonly id: string; readonly number: string }[];
  /** Devices it knows by name and that are not here. */
  readonly absent: readonly string[];
  readonly oddities: readonly Finding[];
}

/**
 * btrfs writes the superblocks of all devices with each commit, so a power cut may leave some one commit behind. More than
 * that, and the device was away while the others were written to.
 */
const ORDINARY_LAG = 1n;

/**
 * Compares a pool, all of it opened, with what the filesystem inside says of its own devices. Before opening only LUKS UUIDs
 * are known, so that this is the first time anybody can tell.
 * @param missing members of the pool that are not there and were done without
 */
export function compareMembers(pool: string, open: readonly OpenMember[], missing: readonly string[]): Comparison {
  const filesystems = [...btrfsOf(open), ...bcachefsOf(open)];
  const warnings = [
    ...open.flatMap(damageOf),
    ...filesystems.flatMap(({ oddities }) => oddities),
    ...foreigners(pool, open, filesystems),
    ...filesystems.flatMap((filesystem) => incompleteness(pool, filesystem, missing)),
  ];
  return { error: filesystems.map((filesystem) => duplicates(pool, filesystem)).find(Boolean), warnings };
}

/** The filesystem that a mapping belongs to; undefined where that is not known. */
export function filesystemOf(contents: Contents): string | undefined {
  if (contents.kind === "btrfs") return `btrfs ${contents.superblock.filesystem}`;
  return contents.kind === "bcachefs" ? `bcachefs ${contents.device.superblock.internalUuid}` : undefined;
}

function btrfsOf(open: readonly OpenMember[]): readonly Filesystem[] {
  const found = open.flatMap(({ volume, contents }) =>
    contents.kind === "btrfs" ? [{ volume, superblock: contents.superblock }] : [],
  );
  return [...Map.groupBy(found, ({ superblock }) => superblock.filesystem)].flatMap(([key, members]) => {
    const newest = members.toSorted((a, b) => compare(b.superblock.generation, a.superblock.generation))[0];
    if (!newest) return [];
    const { devices, label, filesystem } = newest.superblock;
    const name = nameOf("btrfs", label, filesystem);
    return [
      {
        key: `btrfs ${key}`,
        name,
        devices,
        members: members.map(({ volume, superblock: { deviceId, deviceUuid } }) => {
          return { volume, id: `${deviceId} ${deviceUuid}`, number: `devid ${deviceId}` };
        }),
        absent: [],
        oddities: members.flatMap((member) => lag(member, newest, name)),
      },
    ];
  });
}

interface BtrfsMember {
  readonly volume: string;
  readonly superblock: BtrfsSuperblock;
}

function lag(member: BtrfsMember, newest: BtrfsMember, name: string): readonly Finding[] {
  const behind = newest.superblock.generation - member.superblock.generation;
  if (behind <= ORDINARY_LAG) return [];
  return [
    {
      text: `${member.volume} was away while ${newest.volume} was written to: it is ${behind} generations of ${name} behind`,
      hint: "after mounting, `btrfs scrub start` brings it up to date",
    },
  ];
}

function bcachefsOf(open: readonly OpenMember[]): readonly Filesystem[] {
  const found = open.flatMap(({ volume, contents }) => {
    return contents.kind === "bcachefs" ? [{ volume, device: contents.device }] : [];
  });
  return [...Map.groupBy(found, ({ device }) => device.superblock.internalUuid)].flatMap(([key, members]) => {
    const [first, ...others] = members.map(({ device }) => device);
    if (!first) return [];
    const view = viewFilesystem([first, ...others]);
    const { superblock } = view.newest;
    return [
      {
        key: `bcachefs ${key}`,
        name: nameOf("bcachefs", superblock.label, superblock.externalUuid),
        devices: superblock.members.length,
        members: members.map(({ volume, device }) => ({ volume, id: idOf(device), number: slotOf(device) })),
        absent: view.missing.map(memberText),
        oddities: view.notes.map((text) => ({
          text,
          hint: "`bcachefs show-super` shows what each member says of the others",
        })),
      },
    ];
  });
}

function idOf({ superblock: { deviceIndex, self } }: MemberDevice): string {
  return `${deviceIndex} ${self?.uuid ?? "removed"}`;
}

function slotOf({ superblock: { deviceIndex } }: MemberDevice): string {
  return `slot ${deviceIndex}`;
}

/**
 * Two mappings that say they are the same device: one is a copy. The kernel would take now the one, now the other, and what
 * it writes then is lost on the next mount, or worse.
 */
function duplicates(pool: string, { name, members }: Filesystem): LatchkeyError | undefined {
  for (const same of Map.groupBy(members, ({ id }) => id).values()) {
    if (same.length < 2) continue;
    const volumes = same.map(({ volume }) => volume).join(" and ");
    return new LatchkeyError(
      "pool/duplicate-member",
      `pool ${pool}: ${volumes} hold the same device of ${name} (${same[0]?.number}): one is a copy of the other`,
      { hint: "disconnect the copy: a kernel that sees both mixes them up" },
    );
  }
  return undefined;
}

function damageOf({ volume, contents }: OpenMember): readonly Finding[] {
  if (contents.kind !== "unreadable") return [];
  return [
    {
      text: `${volume} is open, and what it holds cannot be read: ${contents.problem}`,
      hint: "the kernel's log (dmesg) and the filesystem's own check tool tell more",
    },
  ];
}

/**
 * Members beside the pool's filesystem. Volumes may share a credential without sharing a filesystem, so this is told only
 * where one of them has several devices.
 */
function foreigners(pool: string, open: readonly OpenMember[], filesystems: readonly Filesystem[]): readonly Finding[] {
  const main = filesystems
    .filter(({ devices }) => devices > 1)
    .toSorted((a, b) => b.members.length - a.members.length)[0];
  if (!main) return [];
  return open.flatMap(({ volume, contents }) => {
    if (contents.kind === "unreadable" || filesystemOf(contents) === main.key) return [];
    const own = filesystems.find(({ key }) => key === filesystemOf(contents));
    return [
      {
        text: `${volume} does not belong to ${main.name} as the rest of pool ${pool} does: it holds ${own?.name ?? "something else"}`,
        hint: `if it was taken out of the filesystem, take it out of pools.${pool}.volumes, too`,
      },
    ];
  });
}

function incompleteness(pool: string, filesystem: Filesystem, missing: readonly string[]): readonly Finding[] {
  const { name, devices, members, absent } = filesystem;
  const lacking = devices - new Set(members.map(({ id }) => id)).size;
  if (lacking <= 0) return [];
  const here = members.map(({ volume, number }) => `${volume} (${number})`).join(", ");
  const which = absent.length === 0 ? "" : `: ${absent.join(", ")}`;
  const text = `${name} has ${devices} devices, and pool ${pool} opened ${devices - lacking} of them, ${here}`;
  // The members that were done without may well be them; what is inside a closed volume nobody knows.
  if (lacking <= missing.length) {
    return [
      {
        text: `${text}; ${missing.join(", ")} ${missing.length === 1 ? "is" : "are"} missing${which}`,
        hint: "it mounts with the option degraded; connect what is missing, or replace it",
      },
    ];
  }
  return [
    {
      text: `${text}: ${lacking - missing.length} of the others ${lacking - missing.length === 1 ? "is" : "are"} no member of the pool${which}`,
      hint: `add the volume to pools.${pool}.volumes, or remove the device from the filesystem`,
    },
  ];
}

function nameOf(kind: string, label: string, uuid: string): string {
  return `${kind} ${label === "" ? "" : `"${label}" `}(${uuid})`;
}

function compare(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
