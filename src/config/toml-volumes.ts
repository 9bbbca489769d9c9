import { z } from "zod";
import { maxMembers, parseDeviceList, volumeUuidProblem, withoutRepeats } from "./device-reference.ts";
import { readKind } from "./kinds.ts";
import type { Certainty, DeviceReference, LeftToSystem, LuksSettings, Origin, SourcePlan, VolumeKind } from "./plan.ts";
import { allSourceKinds, type SourceEntry } from "./source-registry.ts";
import type { KeyPath } from "./toml-lines.ts";
import { readLuksTable } from "./toml-luks.ts";
import { readSources } from "./toml-sources.ts";
import { type Document, isTable, originOf, readTable, wrong } from "./toml-table.ts";
import { parseVolumeName } from "./volume-name.ts";

/** A volume that somebody wrote down, in latchkey.toml or on the kernel command line. */
export interface StatedVolume {
  readonly name: string;
  readonly kind: VolumeKind;
  readonly certainty: Certainty;
  /** Empty where none of those written down can be used: the name may still tell which found volume is meant. */
  readonly devices: readonly DeviceReference[];
  /** Left out where the place that names the volume cannot say it. */
  readonly sources?: readonly SourcePlan[] | undefined;
  /** Present for kind `luks`. */
  readonly luks?: LuksSettings;
  readonly origin: Origin;
}

/** A machine with more volumes is not booted by a file that a person wrote. */
export const maxVolumes = 256;

const text = (expected: string) => z.string({ error: `expected ${expected} in quotes` });
const oneOrMany = (expected: string) =>
  z.preprocess(
    (value) => (typeof value === "string" ? [value] : value),
    z.array(text(expected), { error: `expected ${expected} in quotes, or a list of them` }),
  );

const volumeShape = {
  kind: text("a kind"),
  device: oneOrMany("a device"),
  sources: z.array(text("the name of a source"), { error: "expected a list of names of sources" }),
  luks: z.unknown(),
  // A source's table is read by the source's own schema, when it is known which sources the volume has.
  ...Object.fromEntries(allSourceKinds.map((kind) => [kind, z.unknown()] as const)),
};

export interface TomlVolumes {
  readonly volumes: readonly StatedVolume[];
  readonly leftToSystem: readonly LeftToSystem[];
}

export function readVolumes(value: unknown, registry: readonly SourceEntry[], document: Document): TomlVolumes {
  const volumes: StatedVolume[] = [];
  const leftToSystem: LeftToSystem[] = [];
  if (!isTable(value)) {
    wrong(document, ["volumes"], "expected a table for each volume, like [volumes.root]");
    return { volumes, leftToSystem };
  }
  const entries = Object.entries(value);
  if (entries.length > maxVolumes) wrong(document, ["volumes"], `more than ${maxVolumes} volumes`);
  for (const [name, content] of entries.slice(0, maxVolumes)) {
    const volume = readVolume(name, content, registry, document);
    if (volume === undefined) continue;
    if ("reason" in volume) leftToSystem.push(volume);
    else volumes.push(volume);
  }
  return { volumes, leftToSystem };
}

function readVolume(
  name: string,
  content: unknown,
  registry: readonly SourceEntry[],
  document: Document,
): StatedVolume | LeftToSystem | undefined {
  const path = ["volumes", name];
  const origin = originOf(document, path);
  const named = parseVolumeName(name);
  if ("problem" in named) {
    wrong(document, path, named.problem);
    return undefined;
  }
  const table = readTable(content, volumeShape, path, document);
  if (!isTable(content)) return undefined;
  const given = (key: string): boolean => Object.hasOwn(content, key);

  const kind = readKind(table.kind ?? "");
  const isLuks = "kind" in kind && kind.kind === "luks";
  if (!given("kind")) wrong(document, [...path, "kind"], 'missing (for example kind = "bcachefs")');
  else if ("later" in kind) wrong(document, [...path, "kind"], kind.problem, "config/not-in-this-version");
  else if ("problem" in kind && table.kind !== undefined) wrong(document, [...path, "kind"], kind.problem);

  // A LUKS volume's device stands in crypttab; whether it does is for whoever reads that.
  if (!given("device") && !isLuks) wrong(document, [...path, "device"], 'missing (for example device = "UUID=…")');
  const devices = table.device === undefined ? [] : readDevices(table.device, [...path, "device"], document);
  const tables = new Map(Object.entries(content).filter(([key]) => allSourceKinds.some((source) => source === key)));
  const kindOfVolume = "kind" in kind ? kind.kind : undefined;
  const sources = readSources({ names: table.sources, tables, path, kind: kindOfVolume }, registry, document);

  if (given("luks") && "kind" in kind && !isLuks)
    wrong(document, [...path, "luks"], `a ${kind.kind} volume has no such table`);
  const luks = isLuks ? { luks: given("luks") ? readLuksTable(table.luks, [...path, "luks"], document) : {} } : {};
  if (isLuks && devices.length > 1) wrong(document, [...path, "device"], "a LUKS volume has one device");

  if ("later" in kind) return { name, reason: kind.problem, origin };
  // At boot a kind that was mistyped must not cost the volume: the device itself tells whether it is a bcachefs.
  return "kind" in kind
    ? {
        name,
        kind: kind.kind,
        certainty: "stated",
        devices: isLuks ? devices.slice(0, 1) : devices,
        sources,
        ...luks,
        origin,
      }
    : { name, kind: "bcachefs", certainty: "if-bcachefs", devices, sources, origin };
}

function readDevices(texts: readonly string[], path: KeyPath, document: Document): readonly DeviceReference[] {
  if (texts.length === 0) wrong(document, path, "names no device");
  if (texts.length > maxMembers) wrong(document, path, `names more than ${maxMembers} devices`);
  const devices = texts.slice(0, maxMembers).flatMap((device, index) => {
    const parsed = parseDeviceList(device);
    if ("problem" in parsed) {
      wrong(document, [...path, index], parsed.problem);
      return [];
    }
    return parsed.value.filter((reference) => {
      const problem = volumeUuidProblem(reference);
      if (problem !== undefined) wrong(document, [...path, index], problem);
      return problem === undefined;
    });
  });
  return withoutRepeats(devices);
}
