import type { PoolProgress, Progress, VolumeProgress } from "../sources/source.ts";
import type { AttemptRecord, VolumeRecord, VolumeStanding } from "./report.ts";

const standings: Readonly<Record<VolumeStanding, VolumeProgress["standing"]>> = {
  waiting: "waiting",
  closed: "closed",
  opened: "open",
  "already-open": "open",
  unencrypted: "open",
  // Nothing for latchkey to open there: the system mounts it.
  "left-to-system": "open",
  // Nobody waits for it in this run any longer.
  missing: "failed",
  deferred: "failed",
  refused: "failed",
  failed: "failed",
};

/** The report as far as it has come, in few words: for sources that show it to a person. */
export function progressOf(
  volumes: readonly VolumeRecord[],
  attempts: readonly AttemptRecord[],
  proofs: Iterable<PoolProgress> = [],
): Progress {
  return {
    pools: [...proofs].filter(({ of }) => of > 1),
    volumes: volumes.map(({ name, description, standing, error }) => ({
      name,
      description: description ?? undefined,
      standing: standings[standing],
      reason: error?.reason,
    })),
    failures: attempts.flatMap(({ volume, source, ended_ms, error }) =>
      error ? [{ at: ended_ms, source, volume: volume ?? undefined, reason: error.reason }] : [],
    ),
  };
}
