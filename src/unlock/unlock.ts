import type { Plan, VolumePlan } from "../config/plan.ts";
import { type FoundVolume, type Providers, providerFor } from "../providers/provider.ts";
import type { OfferResult, Source, SourceContext } from "../sources/source.ts";
import type { Clock } from "../system/clock.ts";
import { Credential } from "../system/credential.ts";
import { asLatchkeyError, LatchkeyError } from "../system/errors.ts";
import { attemptGroup } from "./attempt.ts";
import { Board } from "./board.ts";
import { type Group, planGroups } from "./groups.ts";
import { Journal } from "./journal.ts";
import { overallOutcome, whyClosed } from "./outcome.ts";
import { raceSources } from "./race.ts";
import type { Report } from "./report.ts";

export interface UnlockParts {
  readonly plan: Plan;
  readonly providers: Providers;
  readonly sources: readonly Source[];
  readonly clock: Clock;
  readonly version: string;
  readonly build: string;
  /** A line for the person at the console: what opened, what failed and why. */
  announce(line: string): void;
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

/** Milliseconds after which a person at the console is told what a volume waits for; most devices are there before. */
const WAIT_IS_TOLD_AFTER = 5_000;

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

  constructor(parts: UnlockParts, outer: AbortSignal) {
    this.#parts = parts;
    this.#outer = outer;
    this.#signal = AbortSignal.any([outer, this.#over.signal]);
    this.#board = new Board(parts.plan.volumes, () => parts.clock.now());
    this.#journal = new Journal(parts, this.#board.records);
    this.#groupOf = new Map(
      planGroups(parts.plan).flatMap((group) => group.volumes.map((volume) => [volume.name, group] as const)),
    );
  }

  async run(): Promise<Report> {
    const finding = Promise.all(this.#parts.plan.volumes.map((volume) => this.#find(volume)));
    const racing = raceSources({
      sources: this.#parts.sources,
      promptAfter: this.#parts.plan.promptAfter,
      clock: this.#parts.clock,
      board: this.#board,
      journal: this.#journal,
      signal: this.#signal,
      contextFor: (source, sourceSignal, nothingYet) => this.#context(source, sourceSignal, nothingYet),
    });
    await Promise.race([
      this.#board.until(() => this.#board.allSettled, this.#signal),
      Promise.all([finding, racing.exhausted]),
    ]);
    this.#over.abort();
    await racing.ended;
    this.#settleTheRest();
    return this.#journal.finish(overallOutcome(this.#board.records));
  }

  async #find(volume: VolumePlan): Promise<void> {
    const { plan, providers } = this.#parts;
    let lastNote = "waiting for its devices";
    void this.#parts.clock.sleep(WAIT_IS_TOLD_AFTER, this.#signal).then(() => {
      if (this.#signal.aborted || this.#board.standing(volume.name) !== "waiting") return;
      this.#parts.announce(`${volume.name}: ${lastNote}`);
    });
    try {
      const found = await providerFor(volume, providers).find(volume, {
        signal: this.#signal,
        deviceTimeout: plan.deviceTimeout,
        memberTimeout: plan.memberTimeout,
        allowDegraded: plan.policy.allowDegraded,
        note: (text) => {
          lastNote = text;
          this.#journal.event(text, { volume: volume.name });
        },
      });
      if (!this.#signal.aborted) this.#judge(volume, found);
    } catch (thrown) {
      if (this.#signal.aborted) return;
      const error = asLatchkeyError(thrown);
      if (volume.certainty === "stated") this.#giveUp(volume.name, error);
      else this.#leaveToSystem(volume.name, error);
    }
  }

  /** Fails closed on identity: what should be encrypted and is not is refused, not opened. */
  #judge(volume: VolumePlan, found: FoundVolume): void {
    const { name, state } = found;
    this.#board.setFound(found);
    if (state === "open") {
      this.#board.settle(name, "already-open");
    } else if (state !== "closed") {
      if (!volume.requireEncrypted) {
        this.#board.settle(name, "unencrypted");
      } else {
        const [code, what] =
          state === "unencrypted"
            ? (["policy/unencrypted", "is not encrypted"] as const)
            : (["policy/unprotected", "is encrypted, but its key lies beside it in clear"] as const);
        const hint =
          "the disk may have been swapped or reformatted; if this is what you want, set policy.require_encrypted = false";
        this.#giveUp(name, new LatchkeyError(code, `${name}: ${found.description} ${what}: refused`, { hint }));
      }
    }
  }

  /** Nobody said that latchkey should open it, and it cannot: the system mounts it, as it would without us. */
  #leaveToSystem(name: string, reason: LatchkeyError): void {
    this.#journal.event(reason.message, { volume: name });
    this.#board.settle(name, "left-to-system");
  }

  /** A volume that cannot be opened takes the rest of its pool with it. */
  #giveUp(name: string, error: LatchkeyError): void {
    this.#board.settle(name, error.outcome === "refused" ? "refused" : "failed", { error });
    this.#journal.announceError(error);
    const group = this.#groupOf.get(name);
    for (const member of group?.volumes ?? []) {
      if (this.#board.isSettled(member.name)) continue;
      this.#board.settle(member.name, "failed", {
        error: new LatchkeyError(
          "pool/incomplete",
          `${member.name}: not opened because pool ${group?.name} is incomplete: ${error.message}`,
        ),
      });
    }
  }

  #context(source: Source, signal: AbortSignal, nothingYet: (reason: LatchkeyError) => void): SourceContext {
    const servesClosed = (): string[] => source.volumes.filter((name) => this.#board.standing(name) === "closed");
    return {
      signal,
      wanted: async () => {
        const answerable = () =>
          servesClosed().length > 0 || source.volumes.every((name) => this.#board.isSettled(name));
        await this.#board.until(answerable, signal);
        const byUuid = new Map(this.#board.closed.toReversed().map((found) => [found.uuid, found] as const));
        return [...byUuid.values()].reverse().filter(({ name }) => source.volumes.includes(name));
      },
      onChange: (listener) => this.#board.onChange(listener, signal),
      offer: async (secret, volumes) => {
        using credential = new Credential(secret);
        // A person answers for what the question named; an automatic source may be ahead of a late device.
        const notSettled = source.volumes.filter((name) => !this.#board.isSettled(name));
        return await this.#offer(source, credential, volumes ?? (source.isQuestion ? servesClosed() : notSettled));
      },
      nothingYet,
      note: (text) => this.#journal.event(text, { source: source.name }),
    };
  }

  async #offer(source: Source, credential: Credential, names: readonly string[]): Promise<OfferResult> {
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
    const targets = names
      .filter((name) => this.#board.standing(name) === "closed")
      .map((name) => this.#board.found(name))
      .filter((found) => found !== undefined);
    if (targets.length === 0 || this.#signal.aborted) return new Map();
    const started = this.#parts.clock.now();
    const { opened, errors } = await attemptGroup(targets, credential, this.#signal);
    const records = opened ? targets.map((target) => [target.name, null] as const) : [...errors];
    for (const [name, error] of records) this.#journal.attempt({ volume: name, source, started, error });
    const [refusal] = errors.values();
    for (const { name } of targets) {
      if (!refusal || errors.has(name)) continue;
      const reason = `${name}: not opened because another member of pool ${group.name} was not: ${refusal.message}`;
      this.#journal.heldBack(name, source, new LatchkeyError(heldBackCode(refusal), reason));
    }
    if (opened) {
      // Journal first: settling the last volume ends the run.
      this.#journal.announceOpened(targets, source);
      const uuids = new Set(targets.map(({ uuid }) => uuid));
      const sameVolumes = this.#board.closed.filter((other) => uuids.has(other.uuid));
      for (const { name } of sameVolumes) this.#board.settle(name, "opened", { openedBy: source.name });
    }
    return errors;
  }

  #settleTheRest(): void {
    for (const { name } of this.#parts.plan.volumes) {
      if (this.#board.isSettled(name)) continue;
      const error = this.#outer.aborted
        ? new LatchkeyError("unlock/interrupted", `${name}: interrupted before it was opened`)
        : whyClosed(name, this.#parts.sources, this.#journal.errorsFor(name));
      this.#board.settle(name, "failed", { error });
      this.#journal.announceError(error);
    }
  }
}

/** A wrong credential for one member is a wrong credential for the pool. */
function heldBackCode(refusal: LatchkeyError): "pool/member-refused" | "pool/incomplete" {
  return refusal.outcome === "wrong-credential" ? "pool/member-refused" : "pool/incomplete";
}
