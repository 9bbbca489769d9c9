import { basename } from "node:path";
import type { Plan } from "../config/plan.ts";
import { type BlockDevices, referenceText } from "../system/block-devices.ts";
import type { Report, VolumeRecord } from "./report.ts";

/** A root that was only guessed from `root=`, and the LUKS volume in which it lies. */
export interface RootInside {
  readonly guess: string;
  /** As `root=` names it. */
  readonly device: string;
  readonly volume: string;
}

export interface RootInsideParts {
  readonly devices: Pick<BlockDevices, "resolve">;
  /** The names of a device and of all below it, as devicesBelowNode(). */
  below(node: string): ReadonlySet<string> | undefined;
}

/** Guesses about `root=` that turned out to lie inside of a LUKS volume of the same run. */
export async function findRootsInside(
  plan: Plan,
  report: Report,
  { devices, below }: RootInsideParts,
): Promise<readonly RootInside[]> {
  const luks = report.volumes.filter((volume) => volume.kind === "luks" && volume.devices.length > 0);
  const left = new Set(report.volumes.flatMap(({ name, standing }) => (standing === "left-to-system" ? [name] : [])));
  const guesses = plan.volumes.filter(({ name, certainty }) => certainty === "if-bcachefs" && left.has(name));
  const found = await Promise.all(
    guesses.flatMap(({ name, devices: references }) =>
      references.map(async (reference) => {
        const node = await devices.resolve(reference).catch(() => undefined);
        const names = node === undefined ? undefined : below(node);
        const around = luks.find((volume) => names && liesBelow(volume, names));
        return around ? [{ guess: name, device: referenceText(reference), volume: around.name }] : [];
      }),
    ),
  );
  return found.flat();
}

function liesBelow({ devices }: VolumeRecord, names: ReadonlySet<string>): boolean {
  return devices.some((device) => names.has(basename(device)));
}

/** The report without such guesses, which are no volumes of their own; what they were is told of the volume around them. */
export function withoutRootsInside(report: Report, inside: readonly RootInside[]): Report {
  if (inside.length === 0) return report;
  const guesses = new Set(inside.map(({ guess }) => guess));
  const told = new Map(inside.map(({ guess, device, volume }) => [guess, { device, volume }]));
  const settled = new Map(report.volumes.map(({ name, settled_ms }) => [name, settled_ms]));
  const events = [
    ...report.events.filter(({ volume }) => volume === null || !guesses.has(volume)),
    ...[...told].map(([guess, { device, volume }]) => ({
      at_ms: settled.get(guess) ?? report.started_ms,
      volume,
      source: null,
      text: `root=${device} lies in it`,
    })),
  ];
  return {
    ...report,
    volumes: report.volumes.filter(({ name }) => !guesses.has(name)),
    events: events.toSorted((one, other) => one.at_ms - other.at_ms),
  };
}
