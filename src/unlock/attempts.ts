import type { FoundVolume, OpenedVolume } from "../providers/provider.ts";
import type { PoolProgress, Source } from "../sources/source.ts";
import type { Credential } from "../system/credential.ts";
import { asLatchkeyError, LatchkeyError } from "../system/errors.ts";
import { openAll, type ProvenGroup, type ProvenMember, proveAll } from "./attempt.ts";
import type { Board } from "./board.ts";
import type { Group } from "./groups.ts";
import type { Journal } from "./journal.ts";
import { endOf, held } from "./pending.ts";
import { ProofRoom } from "./proof-room.ts";
import type { UnlockParts } from "./unlock.ts";

interface AttemptsParts extends Pick<UnlockParts, "clock" | "announce" | "showProgress" | "room" | "afterOpening"> {
  readonly board: Board;
  readonly journal: Journal;
  /** Aborted when the run is over. */
  readonly signal: AbortSignal;
}

/** Credentials tried on groups, and what comes of it: on the board, in the journal, and in the mappings that were opened. */
export class Attempts {
  readonly #parts: AttemptsParts;
  readonly #room: ProofRoom;
  /** One attempt at a time on each group: the second of two good answers finds it open. */
  readonly #turns = new Map<Group, Promise<unknown>>();
  /** Groups that are being opened, or closed again. Not even an interruption ends this in the middle. */
  readonly #openings = new Set<Promise<unknown>>();
  /** What this run opened, should have closed again and could not. */
  readonly #leftOpen = new Map<string, LatchkeyError>();
  /** What this run opened. */
  readonly #handles = new Map<string, OpenedVolume>();
  readonly #proofs = new Map<Group, PoolProgress>();
  /** Members of pools that have accepted what is their own, and wait for the others to do so. */
  readonly #waiting = new Map<Group, ProvenMember[]>();

  constructor(parts: AttemptsParts) {
    this.#parts = parts;
    this.#room = parts.room ?? new ProofRoom();
  }

  /** How far the members have got that are being proved now. */
  get progress(): readonly PoolProgress[] {
    return [...this.#proofs.values()];
  }

  /** Why a volume is open although its pool is not; undefined for all others. */
  leftOpen(name: string): LatchkeyError | undefined {
    return this.#leftOpen.get(name);
  }

  /** Resolves when nothing is being opened or closed. */
  async openingsEnded(): Promise<void> {
    await endOf(this.#openings);
  }

  /**
   * Closes a volume that this run opened; of all others nothing is done.
   * @throws LatchkeyError when it cannot be closed
   */
  async close(name: string): Promise<boolean> {
    const handle = this.#handles.get(name);
    this.#handles.delete(name);
    if (handle) await held(this.#openings, handle.close());
    return handle !== undefined;
  }

  /** Somebody else has opened a volume: what is done after an opening is done for it, too. */
  openedElsewhere({ name, description }: FoundVolume, group: Group | undefined): void {
    const { announce, board, journal } = this.#parts;
    if (this.#leftOpen.has(name)) return;
    journal.event("somebody else opened it", { volume: name });
    announce(`${name}: ${description} was opened by somebody else`);
    board.settle(name, "already-open");
    const isWhole = group?.volumes.every((member) =>
      ["already-open", "opened", "missing"].includes(board.standing(member.name)),
    );
    if (!group || isWhole !== true) return;
    // What others have opened is not ours to close.
    const told = this.#review(group, []).catch((thrown: unknown) => {
      const error = asLatchkeyError(thrown);
      journal.event(error.message, { volume: name });
      journal.announceError(error);
    });
    void held(this.#openings, told);
  }

  async inTurn(group: Group, action: () => Promise<void>): Promise<void> {
    const turn = (this.#turns.get(group) ?? Promise.resolve()).then(action);
    const end: Promise<unknown> = turn
      .catch(() => undefined)
      .then(() => {
        if (this.#turns.get(group) === end) this.#turns.delete(group);
      });
    this.#turns.set(group, end);
    await turn;
  }

  /** When what is being tried on the group now has its end; undefined when nothing is. */
  turnEnds(group: Group | undefined): Promise<unknown> | undefined {
    return group && this.#turns.get(group);
  }

  /**
   * Tries a credential on all members, or, where each has one of its own, on those that are named.
   * @returns why volumes are not open, by name; empty also where a pool waits for what is another member's own
   */
  async try(
    group: Group,
    source: Source,
    credential: Credential,
    named: readonly string[],
  ): Promise<ReadonlyMap<string, LatchkeyError>> {
    const names = group.volumes.map((volume) => volume.name);
    await this.#parts.board.until(
      () => names.every((name) => this.#parts.board.standing(name) !== "waiting"),
      this.#parts.signal,
    );
    const targets = this.#targets(group);
    if (targets.length === 0 || this.#parts.signal.aborted) return new Map();
    const before = source.opensAlone === true ? this.#provenOf(group, targets) : [];
    const tried =
      source.opensAlone === true
        ? targets.filter(({ name }) => named.includes(name) && !before.some(({ volume }) => volume.name === name))
        : targets;
    const started = this.#parts.clock.now();
    this.#proofs.set(group, { pool: group.name, accepted: before.length, of: targets.length });
    const proof = await proveAll(tried, credential, {
      room: this.#room,
      signal: this.#parts.signal,
      accepted: (count) => this.#tellProgress(group, source, before.length + count, targets.length),
    }).finally(() => this.#proofs.delete(group));
    if (source.opensAlone === true && "proven" in proof) {
      this.#waiting.set(group, [...before, ...proof.proven.members]);
      if (before.length + tried.length < targets.length) return this.#waitForOthers(tried, source);
    }
    const errors =
      "errors" in proof
        ? proof.errors
        : await held(this.#openings, this.#open(group, source, targets, started, this.#whole(group, proof.proven)));
    const [refusal] = errors.values();
    if (!refusal) return errors;
    for (const [name, error] of errors) this.#parts.journal.attempt({ volume: name, source, started, error });
    for (const { name } of targets) {
      if (errors.has(name)) continue;
      const reason = `${name}: not opened because another member of pool ${group.name} was not: ${refusal.message}`;
      this.#parts.journal.heldBack(name, source, new LatchkeyError(heldBackCode(refusal), reason));
    }
    return errors;
  }

  /** Wipes what members of pools have accepted while others have not. */
  forgetProofs(): void {
    for (const group of this.#waiting.keys()) this.#forget(group);
  }

  #forget(group: Group): void {
    for (const { ready } of this.#waiting.get(group) ?? []) ready[Symbol.dispose]();
    this.#waiting.delete(group);
  }

  /** Those of the group that have accepted what is their own, and are to be opened still. */
  #provenOf(group: Group, targets: readonly FoundVolume[]): readonly ProvenMember[] {
    return (this.#waiting.get(group) ?? []).filter(({ volume }) => targets.includes(volume));
  }

  #waitForOthers(tried: readonly FoundVolume[], source: Source): ReadonlyMap<string, LatchkeyError> {
    const text = "accepts its own key; its pool opens when each of the others has accepted its own";
    for (const { name } of tried) this.#parts.journal.event(text, { volume: name, source: source.name });
    return new Map();
  }

  /** What a credential has just proved, or with what is each member's own all that it has come to. */
  #whole(group: Group, proven: ProvenGroup): ProvenGroup {
    const waiting = this.#waiting.get(group) ?? [];
    if (!proven.members.every((member) => waiting.includes(member))) return proven;
    const inOrder = group.volumes.flatMap(({ name }) => waiting.filter(({ volume }) => volume.name === name));
    return { members: inOrder, [Symbol.dispose]: () => this.#forget(group) };
  }

  /** What is closed of a group; of one volume under several names the first. */
  #targets(group: Group): readonly FoundVolume[] {
    const closed = group.volumes.flatMap(({ name }) => {
      const found = this.#parts.board.found(name);
      return found && this.#parts.board.standing(name) === "closed" && !this.#leftOpen.has(name) ? [found] : [];
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
    const { errors, opened, handles, rejection } = await openAll(proven, this.#parts.signal, () =>
      this.#review(group, targets),
    );
    for (const [name, error] of errors) if (error.code === "unlock/left-open") this.#leftOpen.set(name, error);
    if (rejection) {
      for (const { name } of targets)
        this.#parts.board.settle(name, "refused", { error: errors.get(name) ?? rejection });
      this.#parts.journal.announceError(rejection);
    }
    if (!opened) return errors;
    this.#forget(group);
    for (const [name, handle] of handles) this.#handles.set(name, handle);
    // Journal first: settling the last volume ends the run.
    for (const { name } of targets) this.#parts.journal.attempt({ volume: name, source, started, error: null });
    this.#parts.journal.announceOpened(targets, source);
    const uuids = new Set(targets.map(({ uuid }) => uuid));
    for (const { name } of group.volumes)
      if (this.#leftOpen.delete(name)) uuids.add(this.#parts.board.found(name)?.uuid ?? "");
    const sameVolumes = this.#parts.board.closed.filter((other) => uuids.has(other.uuid));
    for (const { name } of sameVolumes) this.#parts.board.settle(name, "opened", { openedBy: source.name });
    return errors;
  }

  /** @throws LatchkeyError when what has opened must not stay open */
  async #review(group: Group, targets: readonly FoundVolume[]): Promise<void> {
    const isOpen = (name: string): boolean =>
      ["already-open", "opened"].includes(this.#parts.board.standing(name)) ||
      targets.some((target) => target.name === name);
    const aftermath = await this.#parts.afterOpening?.({
      name: group.name,
      isPool: group.isPool,
      volumes: group.volumes.flatMap(({ name, kind }) => {
        const uuid = this.#parts.board.found(name)?.uuid;
        return uuid !== undefined && isOpen(name) ? [{ name, kind, uuid }] : [];
      }),
      missing: group.volumes.flatMap(({ name }) => (this.#parts.board.standing(name) === "missing" ? [name] : [])),
    });
    if (!aftermath) return;
    for (const finding of aftermath.warnings) this.#parts.journal.warn(group.name, finding);
    for (const text of aftermath.notes) this.#parts.journal.event(text, { volume: targets[0]?.name ?? group.name });
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
}

/** A wrong credential for one member is a wrong credential for the pool. */
function heldBackCode(refusal: LatchkeyError): "pool/member-refused" | "pool/incomplete" {
  return refusal.outcome === "wrong-credential" ? "pool/member-refused" : "pool/incomplete";
}
