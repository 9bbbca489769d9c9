import type { Plan } from "../config/plan.ts";
import type { FoundVolume, Providers } from "../providers/provider.ts";
import type { OfferResult, PoolProgress, Source, SourceContext } from "../sources/source.ts";
import type { Clock } from "../system/clock.ts";
import { Credential } from "../system/credential.ts";
import { LatchkeyError } from "../system/errors.ts";
import type { AfterOpening } from "./after-opening.ts";
import { openAll, type ProvenGroup, proveAll } from "./attempt.ts";
import { Board } from "./board.ts";
import { type Group, planGroups } from "./groups.ts";
import { Journal } from "./journal.ts";
import { watchForOthers } from "./opened-elsewhere.ts";
import { overallOutcome, whyClosed } from "./outcome.ts";
import { progressOf } from "./progress.ts";
import { ProofRoom } from "./proof-room.ts";
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
  /** One attempt at a time on each group: the second of two good answers finds it open. */
  readonly #turns = new Map<Group, Promise<unknown>>();
  /** Credentials that are being tried. A run is not over before they have an end, but for an interruption. */
  readonly #offers = new Set<Promise<unknown>>();
  /** Groups that are being opened, or closed again. Not even an interruption ends this in the middle. */
  readonly #openings = new Set<Promise<unknown>>();
  /** What this run opened, should have closed again and could not. */
  readonly #leftOpen = new Map<string, LatchkeyError>();
  readonly #proofs = new Map<Group, PoolProgress>();
  readonly #room: ProofRoom;

  constructor(parts: UnlockParts, outer: AbortSignal) {
    this.#parts = parts;
    this.#outer = outer;
    this.#signal = AbortSignal.any([outer, this.#over.signal]);
    this.#board = new Board(parts.plan.volumes, () => parts.clock.now());
    this.#journal = new Journal(parts, this.#board.records);
    this.#room = parts.room ?? new ProofRoom();
    this.#groupOf = new Map(
      planGroups(parts.plan).flatMap((group) => group.volumes.map((volume) => [volume.name, group] as const)),
    );
  }

  async run(): Promise<Report> {
    this.#tellWhatIsSettled();
    watchForOthers({
      board: this.#board,
      clock: this.#parts.clock,
      signal: this.#signal,
      inTurn: async (name, action) => {
        const group = this.#groupOf.get(name);
        if (group) await this.#inTurn(group, action);
      },
      opened: ({ name, description }) => {
        this.#journal.event("somebody else opened it", { volume: name });
        this.#parts.announce(`${name}: ${description} was opened by somebody else`);
        this.#board.settle(name, "already-open");
      },
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
    await endOf(this.#openings);
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
    return this.#board.standing(name) === "closed" && !this.#leftOpen.has(name) && this.#isComplete(name);
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
      progress: () => progressOf(this.#board.records, this.#journal.attempts, this.#proofs.values()),
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
        this.#inTurn(group, async () => {
          for (const [name, error] of await this.#try(group, source, credential)) errors.set(name, error);
        }),
      ),
    );
    const opened = names.filter((name) => ["opened", "already-open"].includes(this.#board.standing(name)));
    return { opened, errors };
  }

  async #inTurn(group: Group, action: () => Promise<void>): Promise<void> {
    const turn = (this.#turns.get(group) ?? Promise.resolve()).then(action);
    this.#turns.set(
      group,
      turn.catch(() => undefined),
    );
    await turn;
  }

  async #try(group: Group, source: Source, credential: Credential): Promise<ReadonlyMap<string, LatchkeyError>> {
    const names = group.volumes.map((volume) => volume.name);
    await this.#board.until(() => names.every((name) => this.#board.standing(name) !== "waiting"), this.#signal);
    const targets = this.#targets(group);
    if (targets.length === 0 || this.#signal.aborted) return new Map();
    const started = this.#parts.clock.now();
    this.#proofs.set(group, { pool: group.name, accepted: 0, of: targets.length });
    const proof = await proveAll(targets, credential, {
      room: this.#room,
      signal: this.#signal,
      accepted: (count) => this.#tellProgress(group, source, count, targets.length),
    }).finally(() => this.#proofs.delete(group));
    const errors =
      "errors" in proof
        ? proof.errors
        : await held(this.#openings, this.#open(group, source, targets, started, proof.proven));
    const [refusal] = errors.values();
    if (!refusal) return errors;
    for (const [name, error] of errors) this.#journal.attempt({ volume: name, source, started, error });
    for (const { name } of targets) {
      if (errors.has(name)) continue;
      const reason = `${name}: not opened because another member of pool ${group.name} was not: ${refusal.message}`;
      this.#journal.heldBack(name, source, new LatchkeyError(heldBackCode(refusal), reason));
    }
    return errors;
  }

  /** What is closed of a group; of one volume under several names the first. */
  #targets(group: Group): readonly FoundVolume[] {
    const closed = group.volumes.flatMap(({ name }) => {
      const found = this.#board.found(name);
      return found && this.#board.standing(name) === "closed" && !this.#leftOpen.has(name) ? [found] : [];
    });
    return closed.filter(({ uuid }, index) => closed.findIndex((other) => other.uuid === uuid) === index);
  }

  /** @returns why volumes are not open, by name */
  async #open(
    group: Group,
    source: Source,
    targets: readonly FoundVolume[],
    started: number,
    proof: ProvenGroup,
  ): Promise<ReadonlyMap<string, LatchkeyError>> {
    using proven = proof;
    const { errors, opened, rejection } = await openAll(proven, this.#signal, () => this.#review(group, targets));
    for (const [name, error] of errors) if (error.code === "unlock/left-open") this.#leftOpen.set(name, error);
    if (rejection) {
      for (const { name } of targets) this.#board.settle(name, "refused", { error: errors.get(name) ?? rejection });
      this.#journal.announceError(rejection);
    }
    if (!opened) return errors;
    // Journal first: settling the last volume ends the run.
    for (const { name } of targets) this.#journal.attempt({ volume: name, source, started, error: null });
    this.#journal.announceOpened(targets, source);
    const uuids = new Set(targets.map(({ uuid }) => uuid));
    for (const { name } of group.volumes)
      if (this.#leftOpen.delete(name)) uuids.add(this.#board.found(name)?.uuid ?? "");
    const sameVolumes = this.#board.closed.filter((other) => uuids.has(other.uuid));
    for (const { name } of sameVolumes) this.#board.settle(name, "opened", { openedBy: source.name });
    return errors;
  }

  /** @throws LatchkeyError when what has opened must not stay open */
  async #review(group: Group, targets: readonly FoundVolume[]): Promise<void> {
    const isOpen = (name: string): boolean =>
      ["already-open", "opened"].includes(this.#board.standing(name)) || targets.some((target) => target.name === name);
    const aftermath = await this.#parts.afterOpening?.({
      name: group.name,
      isPool: group.isPool,
      volumes: group.volumes.flatMap(({ name, kind }) => {
        const uuid = this.#board.found(name)?.uuid;
        return uuid !== undefined && isOpen(name) ? [{ name, kind, uuid }] : [];
      }),
      missing: group.volumes.flatMap(({ name }) => (this.#board.standing(name) === "missing" ? [name] : [])),
    });
    if (!aftermath) return;
    for (const finding of aftermath.warnings) this.#journal.warn(group.name, finding);
    for (const text of aftermath.notes) this.#journal.event(text, { volume: targets[0]?.name ?? group.name });
    if (aftermath.error) throw aftermath.error;
  }

  /** Of a pool: deriving a key for each member takes a person's patience. */
  #tellProgress(group: Group, source: Source, count: number, of: number): void {
    if (of < 2) return;
    const what = source.isQuestion ? "the passphrase" : `the key from ${source.name}`;
    const text = `${count} of ${of} members accept ${what}`;
    (this.#parts.showProgress ?? this.#parts.announce)(`pool ${group.name}: ${text}`);
    this.#proofs.set(group, { pool: group.name, accepted: count, of });
  }

  #settleTheRest(): void {
    for (const { name } of this.#parts.plan.volumes) {
      if (this.#board.isSettled(name)) continue;
      const leftOpen = this.#leftOpen.get(name);
      const error = this.#outer.aborted
        ? new LatchkeyError("unlock/interrupted", `${name}: interrupted before it was opened`)
        : whyClosed(name, this.#parts.sources, this.#journal.errorsFor(name));
      this.#board.settle(name, "failed", { error: leftOpen ?? error });
      this.#journal.announceError(leftOpen ?? error);
    }
  }
}

/** A wrong credential for one member is a wrong credential for the pool. */
function heldBackCode(refusal: LatchkeyError): "pool/member-refused" | "pool/incomplete" {
  return refusal.outcome === "wrong-credential" ? "pool/member-refused" : "pool/incomplete";
}

/** Keeps a promise in a set as long as it has no result. */
function held<T>(set: Set<Promise<unknown>>, promise: Promise<T>): Promise<T> {
  set.add(promise);
  const end = (): void => void set.delete(promise);
  promise.then(end, end);
  return promise;
}

/** Resolves when the set is empty, also of what is added meanwhile. */
async function endOf(set: ReadonlySet<Promise<unknown>>): Promise<void> {
  while (set.size > 0) await Promise.allSettled(set);
}
