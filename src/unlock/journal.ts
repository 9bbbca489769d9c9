import type { FoundVolume } from "../providers/provider.ts";
import type { Source } from "../sources/source.ts";
import type { Clock } from "../system/clock.ts";
import type { LatchkeyError } from "../system/errors.ts";
import type { Finding } from "./compare-members.ts";
import { type AttemptRecord, append, type Report, reportedError, type VolumeRecord, verdictOf } from "./report.ts";

interface JournalParts {
  readonly plan: { readonly warnings: readonly string[]; readonly debug: boolean };
  readonly clock: Clock;
  readonly version: string;
  readonly build: string;
  announce(line: string): void;
}

/** Writes the report as things happen, and tells the person at the console what matters. */
export class Journal {
  readonly #parts: JournalParts;
  readonly #report: Report;
  /** The last error of each source, by volume; those of a source as a whole under the empty name. */
  readonly #errors = new Map<string, Map<Source, LatchkeyError>>();

  constructor(parts: JournalParts, volumes: VolumeRecord[]) {
    this.#parts = parts;
    this.#report = {
      schema: 1,
      version: parts.version,
      build: parts.build,
      started_ms: parts.clock.now(),
      finished_ms: null,
      outcome: null,
      volumes,
      attempts: [],
      events: [],
      warnings: [...parts.plan.warnings],
    };
  }

  event(text: string, about: { volume?: string; source?: string } = {}): void {
    append(this.#report.events, {
      at_ms: this.#parts.clock.now(),
      volume: about.volume ?? null,
      source: about.source ?? null,
      text,
    });
    if (!this.#parts.plan.debug) return;
    const who = [about.volume, about.source].filter((name) => name !== undefined).join(" ");
    this.#parts.announce(`debug: ${who}: ${text}`);
  }

  /** All attempts so far, oldest first. */
  get attempts(): readonly AttemptRecord[] {
    return this.#report.attempts;
  }

  /** A volume stays closed although nothing is wrong with it: another member of its pool refused. */
  heldBack(volume: string, source: Source, error: LatchkeyError): void {
    this.#remember(volume, source, error);
  }

  /** A credential was tried on a volume, or (volume null) a source had none. */
  attempt(of: { volume: string | null; source: Source; started: number; error: LatchkeyError | null }): void {
    append(this.#report.attempts, {
      volume: of.volume,
      source: of.source.name,
      source_kind: of.source.kind,
      verdict: of.error ? verdictOf(of.error) : "opened",
      started_ms: of.started,
      ended_ms: this.#parts.clock.now(),
      error: of.error ? reportedError(of.error) : null,
    });
    if (of.error) this.#remember(of.volume ?? "", of.source, of.error);
  }

  #remember(volume: string, source: Source, error: LatchkeyError): void {
    const bySource = this.#errors.get(volume) ?? new Map<Source, LatchkeyError>();
    bySource.set(source, error);
    this.#errors.set(volume, bySource);
  }

  /** The last reason of each source why this volume is still closed. */
  errorsFor(volume: string): ReadonlyMap<Source, LatchkeyError> {
    const general = [...(this.#errors.get("") ?? [])].filter(([source]) => source.volumes.includes(volume));
    return new Map([...general, ...(this.#errors.get(volume) ?? [])]);
  }

  announceOpened(volumes: readonly FoundVolume[], source: Source): void {
    for (const { name, description } of volumes)
      this.#parts.announce(`${name}: ${description} opened by ${source.name}`);
  }

  /** Something that a person should see to, although everything is open. */
  warn(pool: string, { text, hint }: Finding): void {
    append(this.#report.warnings, `pool ${pool}: ${text}; ${hint}`);
    this.#parts.announce(`warning: pool ${pool}: ${text}`);
    this.#parts.announce(`hint: ${hint}`);
  }

  announceError(error: LatchkeyError): void {
    this.#parts.announce(error.message);
    if (error.hint !== undefined) this.#parts.announce(`hint: ${error.hint}`);
  }

  finish(outcome: NonNullable<Report["outcome"]>): Report {
    this.#report.outcome = outcome;
    this.#report.finished_ms = this.#parts.clock.now();
    return this.#report;
  }
}
