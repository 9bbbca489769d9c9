import { join } from "node:path";
import type { VolumeKind } from "../config/plan.ts";
import type { BlockDevices } from "../system/block-devices.ts";
import type { Clock } from "../system/clock.ts";
import { asLatchkeyError, type LatchkeyError } from "../system/errors.ts";
import { RUN_DIRECTORY, RunDirectory } from "../system/run-directory.ts";
import { lookAgain } from "../system/udev.ts";
import { type Comparison, compareMembers, type Finding, filesystemOf, type OpenMember } from "./compare-members.ts";
import { readContents } from "./contents.ts";

/** A group all of whose volumes are open, but for those that were done without. */
export interface OpenGroup {
  readonly name: string;
  readonly isPool: boolean;
  readonly volumes: readonly { readonly name: string; readonly kind: VolumeKind; readonly uuid: string }[];
  /** Names of members that are missing. */
  readonly missing: readonly string[];
}

export interface Aftermath {
  /** Why the group must not stay open. */
  readonly error: LatchkeyError | undefined;
  readonly warnings: readonly Finding[];
  /** Lines for the report. */
  readonly notes: readonly string[];
}

/** What is done once a group is open. Never throws. */
export type AfterOpening = (group: OpenGroup) => Promise<Aftermath>;

export interface AfterOpeningParts {
  readonly devices: Pick<BlockDevices, "open" | "resolve">;
  /** The name of the active mapping of the volume with this LUKS UUID. */
  readonly mappings: { find(uuid: string): Promise<string | undefined> };
  readonly clock: Clock;
  /** Tests bring their own. */
  readonly lookAgain?: typeof lookAgain;
  /** Leaves word for udev that the btrfs with this UUID has all devices that it is going to have. Tests bring their own. */
  readonly goOnDegraded?: (filesystem: string) => void;
}

/** Milliseconds in which udev makes the link to a mapping. */
const NODE_LIMIT = 10_000;
/** Milliseconds between two looks for it. */
const LOOK_EVERY = 50;

interface OpenMapping extends OpenMember {
  readonly node: string;
}

/**
 * Looks into the mappings of a group that has opened: compares a pool with the member list of the filesystem inside, and has
 * udev look again at the devices of one filesystem once the last of them has come, in this group or in another.
 */
export function afterOpening(parts: AfterOpeningParts): AfterOpening {
  /** Mappings that have opened so far in this run. */
  const known = new Map<string, OpenMapping>();
  return async (group) => {
    const mappings = await mappingsOf(group, parts);
    const { error, warnings } = compareGroup(group, mappings);
    if (error) return { error, warnings, notes: [] };
    for (const mapping of mappings) known.set(mapping.volume, mapping);
    const filesystems = new Set(mappings.map(({ contents }) => filesystemOf(contents)));
    const together = [...known.values()].filter((mapping) => {
      const filesystem = filesystemOf(mapping.contents);
      // A pool may hold what latchkey does not know, and what is spread over its members just the same: LVM, md, ZFS.
      const isOfPool = group.isPool && mappings.includes(mapping);
      return isOfPool || (filesystem !== undefined && filesystems.has(filesystem));
    });
    const without = degradedFilesystems(group, [...known.values()]).filter((uuid) =>
      mappings.some((mapping) => isOf(mapping, uuid)),
    );
    const notes = without.map((uuid) => goOn(uuid, parts.goOnDegraded ?? leaveDegradedMark));
    const isAlone = together.length < 2 && without.length === 0;
    // One device alone has nothing that could have come too early for it.
    if (!isAlone) notes.push(await tellUdev(together, parts.lookAgain ?? lookAgain));
    return { error, warnings, notes };
  };
}

/**
 * Filesystems that lack no more devices than the group's missing members can be. What lacks more waits for a device that is no
 * member, which may be on its way.
 * @returns UUIDs of btrfs filesystems
 */
function degradedFilesystems({ missing }: OpenGroup, open: readonly OpenMapping[]): readonly string[] {
  const superblocks = open.flatMap(({ contents }) => (contents.kind === "btrfs" ? [contents.superblock] : []));
  return [...Map.groupBy(superblocks, ({ filesystem }) => filesystem)].flatMap(([filesystem, members]) => {
    const lacking = Math.max(...members.map(({ devices }) => devices)) - members.length;
    return lacking > 0 && lacking <= missing.length ? [filesystem] : [];
  });
}

function isOf({ contents }: OpenMapping, filesystem: string): boolean {
  return contents.kind === "btrfs" && contents.superblock.filesystem === filesystem;
}

/** 65-latchkey.rules (initrd-hooks/dracut) looks for a file of this name. */
function leaveDegradedMark(filesystem: string): void {
  new RunDirectory().create();
  const marks = new RunDirectory(join(RUN_DIRECTORY, "degraded"));
  marks.create();
  marks.write(filesystem, "");
}

function goOn(filesystem: string, leaveMark: (filesystem: string) => void): string {
  try {
    leaveMark(filesystem);
    return `udev is told not to wait for the missing devices of btrfs ${filesystem}`;
  } catch (thrown) {
    return `udev waits for the missing devices of btrfs ${filesystem}: ${asLatchkeyError(thrown).message}`;
  }
}

/** Compares a pool that is open with what the filesystem inside says. */
export async function lookInside(group: OpenGroup, parts: Omit<AfterOpeningParts, "lookAgain">): Promise<Comparison> {
  return compareGroup(group, await mappingsOf(group, parts));
}

function compareGroup({ isPool, missing, name }: OpenGroup, mappings: readonly OpenMapping[]): Comparison {
  return isPool ? compareMembers(name, mappings, missing) : { error: undefined, warnings: [] };
}

async function mappingsOf(
  { volumes }: OpenGroup,
  { devices, mappings, clock }: Omit<AfterOpeningParts, "lookAgain">,
): Promise<readonly OpenMapping[]> {
  const found = await Promise.all(
    volumes.map(async ({ name, kind, uuid }) => {
      const mapping = kind === "luks" ? await mappings.find(uuid) : undefined;
      if (mapping === undefined) return [];
      const path = `/dev/mapper/${mapping}`;
      const node = (await nodeAt(path, devices, clock)) ?? path;
      return [{ volume: name, node, contents: await readContents(devices, path, clock) }];
    }),
  );
  return found.flat();
}

/** A mapping that others have made is in sysfs a little before udev has made its link. */
async function nodeAt(path: string, devices: Pick<BlockDevices, "resolve">, clock: Clock): Promise<string | undefined> {
  const end = clock.now() + NODE_LIMIT;
  for (;;) {
    const node = await devices.resolve({ by: "path", path }).catch(() => undefined);
    if (node !== undefined || clock.now() >= end) return node;
    await clock.sleep(LOOK_EVERY, new AbortController().signal);
  }
}

async function tellUdev(mappings: readonly OpenMapping[], look: typeof lookAgain): Promise<string> {
  const names = mappings.map(({ volume }) => volume).join(", ");
  const problem = await look(mappings.map(({ node }) => node));
  return problem === undefined ? `udev looked again at ${names}` : `udev did not look again at ${names}: ${problem}`;
}
