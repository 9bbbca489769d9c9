import type { Plan } from "../config/plan.ts";
import type { RunDirectory } from "../system/run-directory.ts";
import type { Report, VolumeRecord } from "./report.ts";
import { printReport } from "./report-file.ts";

/** What the units of the initrd look for after `latchkey boot` (initrd-hooks/). */
export interface Handover {
  /** Nothing is left for the system's own question to do: it is not asked. */
  readonly finished: boolean;
  /** The root volume is not what it should be: it is not mounted. One line with the reason. */
  readonly refused: string | undefined;
}

const rootIsDone: ReadonlySet<VolumeRecord["standing"]> = new Set([
  "opened",
  "already-open",
  "unencrypted",
  "left-to-system",
  "refused",
]);

/**
 * Decides by the root volume alone: a data volume that failed is in the report, but the boot goes on. A volume with the
 * root's UUID counts as the root by whatever name it is configured.
 */
export function planHandover(plan: Plan, report: Report): Handover {
  const rootNames = new Set(plan.volumes.filter((volume) => volume.isRoot).map((volume) => volume.name));
  const uuids = new Set(report.volumes.flatMap(({ name, uuid }) => (rootNames.has(name) && uuid ? [uuid] : [])));
  const roots = report.volumes.filter(({ name, uuid }) => rootNames.has(name) || (uuid !== null && uuids.has(uuid)));
  return {
    finished: roots.every((volume) => rootIsDone.has(volume.standing)),
    refused: roots.find((volume) => volume.standing === "refused")?.error?.reason,
  };
}

/** Leaves the report and the marks; the mark `finished` comes last. */
export function handOver(directory: RunDirectory, report: Report, { finished, refused }: Handover): void {
  directory.write("report.json", printReport(report));
  // Of an earlier run, before the emergency shell was left: this run has decided anew.
  if (refused === undefined) directory.remove("refused");
  else directory.write("refused", `${refused}\n`);
  if (finished) directory.write("finished", "");
}
