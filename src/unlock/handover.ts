import { readFileSync } from "node:fs";
import type { Plan } from "../config/plan.ts";
import type { RunDirectory } from "../system/run-directory.ts";
import { mergeReports } from "./merge-reports.ts";
import { outcomeOf } from "./outcome.ts";
import type { Report, VolumeRecord } from "./report.ts";
import { parseReport, printReport } from "./report-file.ts";
import { type RootInside, withoutRootsInside } from "./root-inside.ts";

/** What the units and scripts of the initrd look for after `latchkey boot` (initrd-hooks/). */
export interface Handover {
  /** Nothing is left for the system's own question to do: it is not asked. */
  readonly finished: boolean;
  /** The root volume is not what it should be: it is not mounted. One line with the reason. */
  readonly refused: string | undefined;
  /**
   * Volumes whose devices have not come, for an initrd that has latchkey look again when others may have made them.
   * Undefined when none is missing; empty when only a guess is, a root of which nobody has said that it is a bcachefs.
   */
  readonly waiting: readonly string[] | undefined;
  /** The members of a bcachefs root that has several: a mount without the filesystem's helper has to be told all of them. */
  readonly rootMembers: readonly string[];
}

const rootIsDone: ReadonlySet<VolumeRecord["standing"]> = new Set([
  "opened",
  "already-open",
  "unencrypted",
  "left-to-system",
  "missing", // the rest of its pool decides
  "refused",
]);

/**
 * Decides by what the initrd is about to mount, which is the root alone on most systems: a data volume that failed is in the
 * report, but the boot goes on. A volume with the root's UUID counts as the root by whatever name it is configured.
 */
export function planHandover(plan: Plan, report: Report): Handover {
  const rootNames = new Set(plan.volumes.filter((volume) => volume.isRoot).map((volume) => volume.name));
  const uuids = new Set(report.volumes.flatMap(({ name, uuid }) => (rootNames.has(name) && uuid ? [uuid] : [])));
  const roots = report.volumes.filter(({ name, uuid }) => rootNames.has(name) || (uuid !== null && uuids.has(uuid)));
  // What else this initrd mounts, such as /nix beside a root on a tmpfs. (LUKS has a question of systemd's own.)
  const mounted = new Set(
    plan.volumes.flatMap(({ name, kind, isForInitrd }) => (kind === "bcachefs" && isForInitrd ? [name] : [])),
  );
  const needed = [...roots, ...report.volumes.filter((volume) => mounted.has(volume.name) && !roots.includes(volume))];
  const missing = report.volumes.filter(isMissing);
  const stated = new Set(plan.volumes.flatMap(({ name, certainty }) => (certainty === "stated" ? [name] : [])));
  const root = roots.find(({ kind, devices }) => kind === "bcachefs" && devices.length > 1);
  return {
    finished: needed.every((volume) => rootIsDone.has(volume.standing)),
    refused: (needed.find(isRefused) ?? refusedBelowRoot(plan, report, roots))?.error?.reason,
    waiting: missing.length === 0 ? undefined : missing.flatMap(({ name }) => (stated.has(name) ? [name] : [])),
    rootMembers: root?.devices ?? [],
  };
}

/**
 * The root may lie in any LUKS volume that the initrd is to open. When such a volume was refused, what is about to be mounted
 * is something else; unless the root is a volume of its own that was found to be what it should be.
 */
function refusedBelowRoot(plan: Plan, report: Report, roots: readonly VolumeRecord[]): VolumeRecord | undefined {
  if (roots.some(({ standing }) => standing === "opened" || standing === "already-open")) return undefined;
  const below = new Set(
    plan.volumes.flatMap(({ name, kind, luks, isForInitrd }) =>
      // What comes over a network is not waited for, and may hold the root all the same.
      kind === "luks" && (isForInitrd === true || luks?.needsNetwork === true) ? [name] : [],
    ),
  );
  return report.volumes.find((volume) => below.has(volume.name) && isRefused(volume));
}

function isRefused({ standing }: VolumeRecord): boolean {
  return standing === "refused";
}

/** It was never found. A volume that was found and then could not be opened has its devices in the report. */
function isMissing(volume: VolumeRecord): boolean {
  if (volume.devices.length > 0) return false;
  return volume.standing === "left-to-system" || (volume.standing === "failed" && outcomeOf(volume) === "unavailable");
}

/** Leaves the report and the marks; the mark `finished` comes last. */
export function handOver(
  directory: RunDirectory,
  report: Report,
  { finished, refused, waiting, rootMembers }: Handover,
  inside: readonly RootInside[] = [],
): void {
  leaveReport(directory, report, inside);
  if (waiting === undefined) directory.remove("waiting");
  else directory.write("waiting", `${waiting.join(" ")}\n`);
  if (rootMembers.length > 0) directory.write("root-members", `${rootMembers.join(":")}\n`);
  // Of an earlier run, before the emergency shell was left: this run has decided anew.
  if (refused === undefined) directory.remove("refused");
  else directory.write("refused", `${refused}\n`);
  if (finished) directory.write("finished", "");
}

const REPORT = "report.json";

/** Leaves the report; what earlier runs at this boot have left is in it. */
export function leaveReport(directory: RunDirectory, report: Report, inside: readonly RootInside[] = []): void {
  directory.write(REPORT, printReport(withoutRootsInside(mergedWithEarlier(directory, report), inside)));
}

function mergedWithEarlier(directory: RunDirectory, report: Report): Report {
  const file = directory.file(REPORT);
  try {
    return mergeReports(parseReport(readFileSync(file, "utf8"), file), report);
  } catch {
    return report; // the first run, or what is there is of no use
  }
}
