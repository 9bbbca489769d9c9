import type { SourceKind, VolumeKind } from "../config/plan.ts";
import type { LatchkeyError } from "../system/errors.ts";

/**
 * What happened at this boot, in order, without secrets. The JSON form is a surface: docs/report.md describes it, and
 * `schema` rises when a field changes its meaning. Times are milliseconds of CLOCK_MONOTONIC.
 */
export interface Report {
  readonly schema: 1;
  readonly version: string;
  readonly build: string;
  readonly started_ms: number;
  finished_ms: number | null;
  /** The exit status's word, null while it runs. */
  outcome: "done" | LatchkeyError["outcome"] | null;
  readonly volumes: VolumeRecord[];
  readonly attempts: AttemptRecord[];
  readonly events: EventRecord[];
  readonly warnings: string[];
}

/** How a volume stands at the end. */
export type VolumeStanding =
  | "waiting" // for its devices
  | "closed"
  | "opened" // by this run
  | "already-open"
  | "unencrypted"
  | "left-to-system" // root= named it, but it holds nothing for latchkey
  | "missing" // its pool was opened without it, as degraded allows
  | "deferred" // its device had not come when all that the initrd needs was settled: the booted system opens it
  | "refused"
  | "failed";

export interface ReportedError {
  readonly code: string;
  readonly reason: string;
  readonly hint?: string;
}

export interface VolumeRecord {
  readonly name: string;
  readonly kind: VolumeKind;
  description: string | null;
  uuid: string | null;
  devices: readonly string[];
  standing: VolumeStanding;
  /** The source whose credential opened it. */
  opened_by: string | null;
  settled_ms: number | null;
  error: ReportedError | null;
}

export type Verdict = "opened" | "wrong-credential" | "unavailable" | "refused" | "failed";

export interface AttemptRecord {
  /** Null when the source failed before there was a credential to try on a volume. */
  readonly volume: string | null;
  readonly source: string;
  readonly source_kind: SourceKind;
  readonly verdict: Verdict;
  readonly started_ms: number;
  readonly ended_ms: number;
  readonly error: ReportedError | null;
}

export interface EventRecord {
  readonly at_ms: number;
  readonly volume: string | null;
  readonly source: string | null;
  readonly text: string;
}

export function reportedError(error: LatchkeyError): ReportedError {
  return { code: error.code, reason: error.message, ...(error.hint === undefined ? {} : { hint: error.hint }) };
}

/** An error's outcome as the verdict of an attempt. */
export function verdictOf(error: LatchkeyError): Verdict {
  switch (error.outcome) {
    case "wrong-credential":
    case "unavailable":
    case "refused":
      return error.outcome;
    default:
      return "failed";
  }
}

/** Hostile volumes or a stuck key cannot make the report grow without end; the newest records are kept. */
export const MAX_RECORDS = 1000;

/** Appends, dropping the oldest beyond the limit. */
export function append<T>(records: T[], record: T): void {
  records.push(record);
  if (records.length > MAX_RECORDS) records.shift();
}
