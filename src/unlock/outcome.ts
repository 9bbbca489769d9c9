import type { Source } from "../sources/source.ts";
import { type ErrorCode, errorTable } from "../system/error-table.ts";
import { LatchkeyError, type Outcome } from "../system/errors.ts";
import type { VolumeRecord } from "./report.ts";

/** From the gravest on: what the exit status tells when volumes ended differently. */
const gravity: readonly Outcome[] = ["refused", "configuration", "usage", "failed", "wrong-credential", "unavailable"];

/** One word for all volumes: `done` when none is left closed. */
export function overallOutcome(volumes: readonly VolumeRecord[]): "done" | Outcome {
  return gravest(volumes.flatMap((volume) => outcomeOf(volume) ?? []));
}

/** `done` when there is none. */
export function gravest(outcomes: readonly Outcome[]): "done" | Outcome {
  return gravity.find((outcome) => outcomes.includes(outcome)) ?? "done";
}

/** Undefined when nothing failed: a member that was done without, as somebody allowed, makes nothing fail. */
export function outcomeOf(volume: VolumeRecord): Outcome | undefined {
  return volume.error && volume.standing !== "missing" ? errorTable[volume.error.code as ErrorCode].outcome : undefined;
}

/** Why a volume stayed closed: the one reason there is, or all of them in one line, each with its source. */
export function whyClosed(
  volume: string,
  sources: readonly Source[],
  errors: ReadonlyMap<Source, LatchkeyError>,
): LatchkeyError {
  const serving = sources.filter((source) => source.volumes.includes(volume));
  if (serving.length === 0) {
    return new LatchkeyError("unlock/no-source", `${volume}: nothing is configured that could open it`, {
      hint: 'add sources = ["prompt"] to the volume in latchkey.toml',
    });
  }
  const [only] = errors.size === 1 ? errors.values() : [];
  if (only) return only;
  // A reason that was told by itself names the volume and the source already.
  const reasons = [...errors].map(
    ([source, { message }]) => `${source.name}: ${message.replace(`${volume}: ${source.name}: `, "")}`,
  );
  return new LatchkeyError(
    "unlock/no-credential",
    `${volume}: no source opened it (${reasons.length > 0 ? reasons.join("; ") : "none had a credential"})`,
  );
}
