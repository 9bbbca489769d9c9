import type { Plan } from "../config/plan.ts";
import type { Providers } from "../providers/provider.ts";
import type { OfferResult, Source, SourceContext } from "../sources/source.ts";
import type { Clock } from "../system/clock.ts";
import { Credential } from "../system/credential.ts";
import { LatchkeyError } from "../system/errors.ts";
import type { AfterOpening } from "./after-opening.ts";
import { Attempts } from "./attempts.ts";
import { Board } from "./board.ts";
import { type Group, planGroups } from "./groups.ts";
import { Journal } from "./journal.ts";
import { watchForOthers } from "./opened-elsewhere.ts";
import { overallOutcome, whyClosed } from "./outcome.ts";
import { endOf, held } from "./pending.ts";
import { progressOf } from "./progress.ts";
import type { ProofRoom } from "./proof-room.ts";
import { raceSources } from "./race.ts";
import type { Report, VolumeStanding } from "./report.ts";
import { Searching } from "./searching.ts";
import { releaseVaults } from "./vaults.ts";

export interface UnlockParts {
  readonly plan: Plan;
  readonly providers: Providers;
  readonly sources: readonly Source[];
  readonly clock: Clock;
  readonly version: string;
  readonly build: string;
  /** A line for the person at the console: what opened, what failed and why. */
  announce(line: string): void;
  /** A line on how far a pool has got, of use only while it goes on; announced where there is no other place for it. */
  showProgress?(line: string): void;
  /**
   * The volumes this run is for, from neededVolumes(). Once they are settled, others whose device has not come are left for
   * later. Where nothing is said, all are waited for.
   */
  readonly needed?: ReadonlySet<string>;
  /** What proofs may take of the machine; this one's memory and cores where nothing is said. */
  readonly room?: ProofRoom;
  readonly afterOpening?: AfterOpening;
  /** Called once for each volume, when nothing more will be tried on it. */
  settled?(volume: string, standing: VolumeStanding): void;
}

/**
 * Opens everything the plan names: finds the volumes, lets their sources race, tries what they offer. Ends when every
 * volume is settled, or when no source is left that could open what is still closed, or when the signal is aborted.
 * Never throws: all that goes wrong is in the report.
 */
export async function unlockVolumes(parts: UnlockParts, signal: AbortSignal): Promise<Report> {
  const run = new Unlocking(parts, signal);
  return await run.run();
}

/**
 * Milliseconds from the start in which devices come that were there when the machine was switched on. Nothing is left for later
 * before: otherwise it would be chance whether a data disk opens in the initrd, with one question for all.
 */
export const DEVICES_COME_WITHIN = 2_000;

class Unlocking {
  readonly #parts: UnlockParts;
  readonly #outer: AbortSignal;
  readonly #over = new AbortController();
  readonly #signal: AbortSignal;
  readonly #board: Board;
  readonly #journal: Journal;
  readonly #groupOf: ReadonlyMap<string, Group>;
  /** Credentials that are being tried. A run is not over before they have an end, but for an interruption. */
  readonly #offers = new Set<Promise<unknown>>();
  readonly #attempts: Attempts;

  constructor(parts: UnlockParts, outer: AbortSignal) {
    this.#parts = parts;
    this.#outer = outer;
    this.#signal = AbortSignal.any([outer, this.#over.signal]);
    this.#board = new Board(parts.plan.volumes, () => parts.clock.now());
    this.#journal = new Journal(parts, this.#board.records);
    this.#groupOf = new Map(
      planGroups(parts.plan).flatMap((group) => group.volumes.map((volume) => [volume.name, group] as const)),
    );
    this.#attempts = new Attempts({ ...parts, board: this.#board, journal: this.#journal, signal: this.#signal });
  }

  async run(): Promise<Report> {
    this.#tellWhatIsSettled();
    watchForOthers({
      board: this.#board,
      clock: this.#parts.clock,
      signal: this.#signal,
      inTurn: async (name, action) => {
        const group = this.#groupOf.get(name);
        if (group) await this.#attempts.inTurn(group, action);
      },
      opened: (found) => this.#attempts.openedElsewhere(found, this.#groupOf.get(found.name)),
    });
    const searching = new Searching({
      ...this.#parts,
      board: this.#board,
      journal: this.#journal,
      groupOf: this.#groupOf,
      signal: this.#signal,
    });
    const finding = searching.run();
    releaseVaults(this.#parts.plan.volumes, this.#board, this.#signal, (name) => {
      this.#journal.event("not needed: nothing waits for a key of it", { volume: name });
      this.#board.settle(name, "left-to-system");
    });
    const racing = raceSources({
      sources: this.#parts.sources,
      promptAfter: this.#parts.plan.promptAfter,
      clock: this.#parts.clock,
      board: this.#board,
      journal: this.#journal,
      signal: this.#signal,
      contextFor: (...about) => this.#context(...about),
    });
    await Promise.race([
      this.#board.until(() => this.#board.allSettled, this.#signal),
      Promise.all([finding, racing.exhausted]).then(() => endOf(this.#offers)),
      this.#deferTheLate(),
    ]);
    this.#over.abort();
    await racing.ended;
    await this.#attempts.openingsEnded();
    this.#settleTheRest();
    return this.#journal.finish(overallOutcome(this.#board.records));
  }

  /**
   * Ends once everything the initrd needs is settled and nothing else could be opened but what has no device yet: that need not
   * hold up the system, which opens it when it comes. Without needed volumes it never ends.
   */
  async #deferTheLate(): Promise<void> {
    const { clock, needed } = this.#parts;
    if (!needed) return await new Promise<never>(() => undefined);
    await clock.sleep(DEVICES_COME_WITHIN, this.#signal);
    const isLate = (name: string): boolean => !needed.has(name) && !this.#isComplete(name);
    await this.#board.until(
      () => this.#board.records.every(({ name }) => this.#board.isSettled(name) || isLate(name)),
      this.#signal,
    );
    if (this.#signal.aborted) return;
    for (const { name } of this.#board.records) {
      if (this.#board.isSettled(name)) continue;
      const waitsFor = this.#board.standing(name) === "waiting" ? "its device is" : "another member of its pool is";
      const text = `${waitsFor} not there yet: left to the system that starts now`;
      this.#journal.event(text, { volume: name });
      this.#parts.announce(`${name}: ${text}`);
      this.#board.settle(name, "deferred");
    }
  }

  #tellWhatIsSettled(): void {
    const told = new Set<string>();
    this.#board.onChange(() => {
      for (const { name, standing } of this.#board.records) {
        if (!this.#board.isSettled(name) || told.has(name)) continue;
        told.add(name);
        this.#parts.settled?.(name, standing);
      }
    }, this.#outer);
  }

  /** Nothing of the volume's group is waited for any longer. */
  #isComplete(name: string): boolean {
    const volumes = this.#groupOf.get(name)?.volumes ?? [];
    return volumes.every((member) => this.#board.standing(member.name) !== "waiting");
  }

  /** Found, closed, and with nothing missing that it would have to wait for. */
  #isAskable(name: string): boolean {
    return (
      this.#board.standing(name) === "closed" && this.#attempts.leftOpen(name) === undefined && this.#isComplete(name)
    );
  }

  #context(
    source: Source,
    signal: AbortSignal,
    nothingYet: (reason: LatchkeyError) => void,
    questionTime: Promise<void>,
  ): SourceContext {
    const servesClosed = (): string[] => source.volumes.filter((name) => this.#isAskable(name));
    return {
      signal,
      wanted: async () => {
        const answerable = () =>
          servesClosed().length > 0 || source.volumes.every((name) => this.#board.isSettled(name));
        await this.#board.until(answerable, signal);
        const byUuid = new Map(this.#board.closed.toReversed().map((found) => [found.uuid, found] as const));
        return [...byUuid.values()]
          .reverse()
          .filter(({ name }) => source.volumes.includes(name) && this.#isAskable(name));
      },
      onChange: (listener) => this.#board.onChange(listener, signal),
      offer: (secret, volumes) => {
        // A person answers for what the question named; an automatic source may be ahead of a late device.
        const notSettled = source.volumes.filter((name) => !this.#board.isSettled(name));
        const names = volumes ?? (source.isQuestion ? servesClosed() : notSettled);
        return held(this.#offers, this.#offer(source, new Credential(secret), names));
      },
      questionTime,
      progress: () => progressOf(this.#board.records, this.#journal.attempts, this.#attempts.progress),
      nothingYet,
      note: (text) => this.#journal.event(text, { source: source.name }),
    };
  }

  /** Takes over the scope of the credential. */
  async #offer(source: Source, offered: Credential, names: readonly string[]): Promise<OfferResult> {
    using credential = offered;
    const groups = new Set(names.map((name) => this.#groupOf.get(name)).filter((group) => group !== undefined));
    const errors = new Map<string, LatchkeyError>();
    await Promise.all(
      [...groups].map((group) =>
        this.#attempts.inTurn(group, async () => {
          for (const [name, error] of await this.#attempts.try(group, source, credential)) errors.set(name, error);
        }),
      ),
    );
    const opened = names.filter((name) => ["opened", "already-open"].includes(this.#board.standing(name)));
    return { opened, errors };
  }

  #settleTheRest(): void {
    for (const { name } of this.#parts.plan.volumes) {
      if (this.#board.isSettled(name)) continue;
      const leftOpen = this.#attempts.leftOpen(name);
      const error = this.#outer.aborted
        ? new LatchkeyError("unlock/interrupted", `${name}: interrupted before it was opened`)
        : whyClosed(name, this.#parts.sources, this.#journal.errorsFor(name));
      this.#board.settle(name, "failed", { error: leftOpen ?? error });
      this.#journal.announceError(leftOpen ?? error);
    }
  }
}
