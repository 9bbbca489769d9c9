import type { VolumeKind } from "../config/plan.ts";
import type { BlockDevices } from "../system/block-devices.ts";
import type { Clock } from "../system/clock.ts";
import type { LatchkeyError } from "../system/errors.ts";
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
}

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
    return { error, warnings, notes: await tellUdev(together, parts.lookAgain ?? lookAgain) };
  };
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
      const node = await devices.resolve({ by: "path", path }).catch(() => undefined);
      return [{ volume: name, node: node ?? path, contents: await readContents(devices, path, clock) }];
    }),
  );
  return found.flat();
}

async function tellUdev(mappings: readonly OpenMapping[], look: typeof lookAgain): Promise<readonly string[]> {
  // One device alone has nothing that could have come too early for it.
  if (mappings.length < 2) return [];
  const names = mappings.map(({ volume }) => volume).join(", ");
  const problem = await look(mappings.map(({ node }) => node));
  return [problem === undefined ? `udev looked again at ${names}` : `udev did not look again at ${names}: ${problem}`];
}
