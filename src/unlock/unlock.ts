import type { Plan } from "../config/plan.ts";
import { vaultsOf } from "../config/vaults.ts";
import type { Providers } from "../providers/provider.ts";
import type { OfferResult, Source, SourceContext } from "../sources/source.ts";
import { SystemSticks } from "../sources/usb/sticks.ts";
import type { Clock } from "../system/clock.ts";
import { Credential } from "../system/credential.ts";
import { asLatchkeyError, LatchkeyError } from "../system/errors.ts";
import type { AfterOpening } from "./after-opening.ts";
import { Attempts } from "./attempts.ts";
import { Board } from "./board.ts";
import { Deferring, isComplete } from "./deferring.ts";
import { type Group, planGroups } from "./groups.ts";
import { Journal } from "./journal.ts";
import { volumesThatMayWait } from "./needed.ts";
import { watchForOthers } from "./opened-elsewhere.ts";
import { overallOutcome, whyClosed } from "./outcome.ts";
import { endOf, held } from "./pending.ts";
import { progressOf } from "./progress.ts";
import type { ProofRoom } from "./proof-room.ts";
import { raceSources } from "./race.ts";
import type { Report, VolumeStanding } from "./report.ts";
import { Searching } from "./searching.ts";
import { isClosedAgain, releaseVaults } from "./vaults.ts";

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
   * later, and those that a boot goes on without (deferring.ts). Where nothing is said, all are waited for.
   */
  readonly needed?: ReadonlySet<string>;
  /** What proofs may take of the machine; this one's memory and cores where nothing is said. */
  readonly room?: ProofRoom;
  readonly afterOpening?: AfterOpening;
  /** Is this a disk or partition that can be taken away? As this machine's kernel says, where nothing is said. */
  isOnStick?(device: string): boolean;
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

function isRemovable(device: string): boolean {
  return new SystemSticks().look(device)?.isRemovable === true;
}

class Unlocking {
  readonly #parts: UnlockParts;
  readonly #outer: AbortSignal;
  readonly #over = new AbortController();
  readonly #signal: AbortSignal;
  readonly #board: Board;
  readonly #journal: Journal;
  readonly #groupOf: ReadonlyMap<string, Group>;
  /** Credentials that are being tried, and read by sources that had nothing before. A run is not over before they have an end, but for an interruption. */
  readonly #offers = new Set<Promise<unknown>>();
  readonly #attempts: Attempts;
  readonly #deferring: Deferring;

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
    this.#deferring = new Deferring({
      ...parts,
      needed: parts.needed,
      mayWait: parts.needed ? volumesThatMayWait(parts.plan) : new Set(),
      board: this.#board,
      journal: this.#journal,
      groupOf: this.#groupOf,
      attempts: this.#attempts,
    });
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
    const closings = new Set<Promise<unknown>>();
    releaseVaults(this.#parts.plan.volumes, this.#board, this.#signal, (name) => {
      if (this.#board.isSettled(name)) return void held(closings, this.#closeVault(name));
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
      this.#deferring.run(racing.questionTime, this.#signal),
    ]);
    this.#over.abort();
    await racing.ended;
    await this.#attempts.openingsEnded();
    this.#attempts.forgetProofs();
    for (const name of new Set(this.#parts.plan.volumes.flatMap(vaultsOf))) void held(closings, this.#closeVault(name));
    await endOf(closings);
    this.#settleTheRest();
    return this.#journal.finish(overallOutcome(this.#board.records));
  }

  /** Also when the keys in it were of no use: what is on a stick should not be open when the stick is pulled. */
  async #closeVault(name: string): Promise<void> {
    const { announce, plan, isOnStick = isRemovable } = this.#parts;
    const vault = plan.volumes.find((volume) => volume.name === name);
    const devices = this.#board.found(name)?.devices ?? [];
    if (!vault || !isClosedAgain(vault, plan.volumes, devices.some(isOnStick))) return;
    try {
      if (!(await this.#attempts.close(name))) return;
      this.#journal.event("closed again: nothing waits for a key of it", { volume: name });
    } catch (thrown) {
      const text = `stays open: ${asLatchkeyError(thrown).message.replace(`${name}: `, "")}`;
      this.#journal.event(text, { volume: name });
      announce(`${name}: ${text}`);
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

  /** Found, closed, to be asked for, and with nothing missing that it would have to wait for. */
  #isAskable(name: string): boolean {
    return (
      this.#board.standing(name) === "closed" &&
      this.#attempts.leftOpen(name) === undefined &&
      isComplete(this.#groupOf.get(name), this.#board) &&
      !this.#deferring.isLeftAlone(name)
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
      atWork: (work) => held(this.#offers, work),
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
          for (const [name, error] of await this.#attempts.try(group, source, credential, names))
            errors.set(name, error);
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
