import type { VolumePlan } from "../config/plan.ts";
import { type FoundVolume, providerFor } from "../providers/provider.ts";
import { referenceText } from "../system/block-devices.ts";
import { asLatchkeyError, LatchkeyError } from "../system/errors.ts";
import type { Board } from "./board.ts";
import type { Group } from "./groups.ts";
import type { Journal } from "./journal.ts";
import type { UnlockParts } from "./unlock.ts";

/** Milliseconds after which a person at the console is told what a volume waits for; most devices are there before. */
const WAIT_IS_TOLD_AFTER = 5_000;

const deadDisk: ReadonlySet<string> = new Set(["device/unreadable", "device/no-answer"]);

/**
 * A member that does not come, or whose disk has died: a pool may do without it where degraded is allowed. Anything else is a
 * matter of identity, and no permission covers that.
 */
export function isAbsence({ code, outcome }: LatchkeyError): boolean {
  return outcome === "unavailable" || deadDisk.has(code);
}

interface SearchParts extends Pick<UnlockParts, "plan" | "providers" | "clock" | "announce"> {
  readonly board: Board;
  readonly journal: Journal;
  readonly groupOf: ReadonlyMap<string, Group>;
  /** Aborted when the run is over. */
  readonly signal: AbortSignal;
}

/** A pool while its members are looked for. */
interface PoolSearch {
  /** Resolves when the first member is there: from then on the others have member_timeout. */
  readonly begun: PromiseWithResolvers<void>;
  /** Members that are not there: why, and how long they were waited for. */
  readonly absent: Map<string, Absence>;
}

interface Absence {
  readonly error: LatchkeyError;
  /** Milliseconds. */
  readonly waited: number;
}

/**
 * Looks for all volumes of the plan side by side, and settles on the board those that cannot be opened or need not be. A
 * missing member holds up its own pool only.
 */
export class Searching {
  readonly #parts: SearchParts;
  readonly #pools = new Map<Group, PoolSearch>();

  constructor(parts: SearchParts) {
    this.#parts = parts;
    for (const group of new Set(parts.groupOf.values())) {
      if (group.isPool) this.#pools.set(group, { begun: Promise.withResolvers(), absent: new Map() });
    }
  }

  /** Never throws. */
  async run(): Promise<void> {
    await Promise.all(this.#parts.plan.volumes.map((volume) => this.#find(volume)));
  }

  async #find(volume: VolumePlan): Promise<void> {
    const { clock, signal, groupOf } = this.#parts;
    const started = clock.now();
    const group = groupOf.get(volume.name);
    const pool = group && this.#pools.get(group);
    const own = new AbortController();
    const search = this.#search(volume, AbortSignal.any([signal, own.signal]));
    search.catch(() => undefined); // it may end after it was given up
    try {
      const limit = pool ? [this.#memberLimit(volume, group, pool, own.signal)] : [];
      const found = await Promise.race([search, ...limit]);
      // It may have been given up meanwhile, with the rest of its pool.
      if (signal.aborted || this.#parts.board.isSettled(volume.name)) return;
      pool?.begun.resolve();
      this.#judge(volume, found);
      if (group && pool) this.#sumUp(group, pool);
    } catch (thrown) {
      if (signal.aborted || this.#parts.board.isSettled(volume.name)) return;
      const error = asLatchkeyError(thrown);
      if (group && pool && isAbsence(error)) {
        const waited = this.#parts.plan.deviceTimeout === 0 ? 0 : clock.now() - started;
        pool.absent.set(volume.name, { error, waited });
        this.#sumUp(group, pool);
      } else if (volume.certainty === "stated") this.#giveUp(volume.name, error);
      else this.#leaveToSystem(volume.name, error);
    } finally {
      own.abort();
    }
  }

  async #search(volume: VolumePlan, signal: AbortSignal): Promise<FoundVolume> {
    const { announce, board, clock, journal, plan, providers } = this.#parts;
    let lastNote = "waiting for its devices";
    let isTold = false;
    const tell = (): void => {
      if (signal.aborted || board.standing(volume.name) !== "waiting") return;
      // A mere guess often lies inside of what is being asked for, and would only be written into that question.
      if (volume.certainty !== "stated" && board.closed.length > 0) return;
      isTold = true;
      announce(`${volume.name}: ${lastNote}`);
    };
    void clock.sleep(WAIT_IS_TOLD_AFTER, signal).then(tell);
    return await providerFor(volume, providers).find(volume, {
      signal,
      deviceTimeout: this.#deviceTimeout(volume),
      memberTimeout: plan.memberTimeout,
      allowDegraded: plan.policy.allowDegraded,
      note: (text) => {
        const isNews = text !== lastNote;
        lastNote = text;
        journal.event(text, { volume: volume.name });
        // Who was told what a volume waits for is told when it waits for something else: a disk came, its sibling did not.
        if (isTold && isNews) tell();
      },
    });
  }

  /** A member of a pool may be the last to come, at the end of both limits. */
  #deviceTimeout({ name, certainty }: VolumePlan): number {
    const { deviceTimeout, guessTimeout, memberTimeout } = this.#parts.plan;
    if (certainty !== "stated" && guessTimeout !== undefined) return guessTimeout;
    const isMember = this.#parts.groupOf.get(name)?.isPool === true;
    return isMember && memberTimeout > deviceTimeout ? deviceTimeout + memberTimeout : deviceTimeout;
  }

  /**
   * Rejects when the first member has been there for member_timeout, or when none has come within device_timeout. Never where the
   * limit of the search itself ends it by then.
   */
  async #memberLimit(volume: VolumePlan, group: Group, pool: PoolSearch, signal: AbortSignal): Promise<never> {
    const { clock, plan } = this.#parts;
    const started = clock.now();
    const never = new Promise<never>(() => undefined);
    if (plan.memberTimeout === plan.deviceTimeout) return await never;
    const none = plan.memberTimeout > plan.deviceTimeout ? clock.sleep(plan.deviceTimeout, signal) : never;
    const isBegun = await Promise.race([pool.begun.promise.then(() => true), none.then(() => false)]);
    if (isBegun) await clock.sleep(plan.memberTimeout, signal);
    if (signal.aborted) return await never;
    throw new LatchkeyError(
      "pool/member-missing",
      `${named(volume)} of pool ${group.name} ${absence(clock.now() - started)}`,
      { hint: advice(group) },
    );
  }

  /** Fails closed on identity: what should be encrypted and is not is refused, not opened. */
  #judge(volume: VolumePlan, found: FoundVolume): void {
    const { board } = this.#parts;
    const { name, state } = found;
    board.setFound(found);
    if (state === "open") {
      board.settle(name, "already-open");
    } else if (state !== "closed") {
      if (!volume.requireEncrypted) {
        board.settle(name, "unencrypted");
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
    this.#parts.journal.event(reason.message, { volume: name });
    this.#parts.board.settle(name, "left-to-system", { isUnmet: isAbsence(reason) });
  }

  /** Once every member of a pool is there or is known to be missing: what becomes of the pool. */
  #sumUp(group: Group, { absent }: PoolSearch): void {
    const { board, plan } = this.#parts;
    const others = group.volumes.filter(({ name }) => !absent.has(name));
    if (others.some(({ name }) => board.standing(name) === "waiting")) return;
    if (absent.size === 0) this.#refuseCopies(group);
    else if (others.length === 0 || !plan.policy.allowDegraded) this.#failForMissing(group, absent, others);
    else this.#doWithout(group, absent);
  }

  #doWithout(group: Group, absent: ReadonlyMap<string, Absence>): void {
    const { announce, board } = this.#parts;
    announce(`warning: pool ${group.name}: going on degraded, without ${missingText(group, absent)}`);
    for (const [name, { error }] of absent) board.settle(name, "missing", { error });
  }

  #failForMissing(group: Group, absent: ReadonlyMap<string, Absence>, others: readonly VolumePlan[]): void {
    const { board, journal } = this.#parts;
    for (const [name, { error }] of absent) {
      if (board.isSettled(name)) continue;
      board.settle(name, "failed", { error });
      journal.announceError(error);
    }
    const lacks = `pool ${group.name} lacks ${missingText(group, absent)}`;
    for (const { name } of others) {
      if (board.isSettled(name)) continue;
      const error = new LatchkeyError("pool/member-missing", `${name}: not opened because ${lacks}`, {
        hint: advice(group),
      });
      board.settle(name, "failed", { error });
    }
  }

  /** One UUID on two devices: one is a copy, and which of them holds today's data nobody can tell. */
  #refuseCopies(group: Group): void {
    const { board } = this.#parts;
    const seen = new Map<string, FoundVolume>();
    for (const { name } of group.volumes) {
      const found = board.found(name);
      if (!found || found.uuid === "") continue; // what holds no LUKS has none
      const earlier = seen.get(found.uuid);
      seen.set(found.uuid, found);
      // One volume under two names has the same devices; that is no harm.
      if (!earlier || found.devices.some((path) => earlier.devices.includes(path))) continue;
      const places = `${earlier.name} (${earlier.devices.join(", ")}) and ${name} (${found.devices.join(", ")})`;
      const text = `pool ${group.name}: ${places} have one UUID, ${found.uuid}: one is a copy of the other`;
      const hint = "disconnect the copy, or name the other's device";
      const error = new LatchkeyError("pool/duplicate-member", text, { hint });
      if (!board.isSettled(earlier.name)) board.settle(earlier.name, "refused", { error });
      this.#giveUp(name, error);
    }
  }

  /** A volume that cannot be opened takes the rest of its pool with it. */
  #giveUp(name: string, error: LatchkeyError): void {
    const { board, groupOf, journal } = this.#parts;
    board.settle(name, error.outcome === "refused" ? "refused" : "failed", { error });
    journal.announceError(error);
    const group = groupOf.get(name);
    for (const member of group?.volumes ?? []) {
      if (board.isSettled(member.name)) continue;
      board.settle(member.name, "failed", {
        error: new LatchkeyError(
          "pool/incomplete",
          `${member.name}: not opened because pool ${group?.name} is incomplete: ${error.message}`,
        ),
      });
    }
  }
}

/** `d2 (UUID=…)` */
function named({ name, devices }: VolumePlan): string {
  return `${name} (${devices.map(referenceText).join(", ")})`;
}

function missingText(group: Group, absent: ReadonlyMap<string, Absence>): string {
  const members = group.volumes.flatMap((volume) => {
    const missing = absent.get(volume.name);
    return missing ? [`${named(volume)}, which ${absence(missing.waited)}`] : [];
  });
  return members.join(" and ");
}

/** @param waited milliseconds */
function absence(waited: number): string {
  const seconds = Math.round(waited / 1000);
  return seconds === 0 ? "is not there" : `did not appear within ${seconds} s`;
}

function advice(group: Group): string {
  return `connect it, or go without: latchkey unlock ${group.name} --allow-degraded, at boot policy.allow_degraded`;
}
