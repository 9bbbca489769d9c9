import type { VolumePlan } from "../config/plan.ts";
import type { FoundVolume } from "../providers/provider.ts";
import type { LatchkeyError } from "../system/errors.ts";
import { reportedError, type VolumeRecord, type VolumeStanding } from "./report.ts";

const settledStandings: ReadonlySet<VolumeStanding> = new Set([
  "opened",
  "already-open",
  "unencrypted",
  "left-to-system",
  "missing",
  "deferred",
  "refused",
  "failed",
]);

interface Entry {
  readonly plan: VolumePlan;
  readonly record: VolumeRecord;
  found: FoundVolume | undefined;
  /** It was only a guess, and what it names did not come. */
  isUnmet: boolean;
}

/** Where each volume stands, and who wants to know when that changes. */
export class Board {
  readonly #entries: ReadonlyMap<string, Entry>;
  readonly #listeners = new Set<() => void>();
  readonly #now: () => number;

  constructor(volumes: readonly VolumePlan[], now: () => number) {
    this.#now = now;
    this.#entries = new Map(
      volumes.map((plan) => [plan.name, { plan, record: freshRecord(plan), found: undefined, isUnmet: false }]),
    );
  }

  get records(): VolumeRecord[] {
    return [...this.#entries.values()].map((entry) => entry.record);
  }

  standing(name: string): VolumeStanding {
    return this.#entry(name).record.standing;
  }

  found(name: string): FoundVolume | undefined {
    return this.#entry(name).found;
  }

  /** Nobody stated what the volume is, and its device did not come: nothing is known of it. */
  isGuessUnmet(name: string): boolean {
    return this.#entry(name).isUnmet;
  }

  /**
   * What is found and wants a credential, in the order of the plan. Two of them may have one UUID: `root=/dev/sda2` and a
   * configured `UUID=…` can be two names of one volume.
   */
  get closed(): readonly FoundVolume[] {
    return [...this.#entries.values()].flatMap(({ found, record }) =>
      found && record.standing === "closed" ? found : [],
    );
  }

  isSettled(name: string): boolean {
    return settledStandings.has(this.standing(name));
  }

  get allSettled(): boolean {
    return this.records.every((record) => settledStandings.has(record.standing));
  }

  setFound(found: FoundVolume): void {
    const entry = this.#entry(found.name);
    entry.found = found;
    entry.record.description = found.description;
    entry.record.uuid = found.uuid;
    entry.record.devices = found.devices;
    entry.record.standing = "closed";
    this.#changed();
  }

  settle(
    name: string,
    standing: VolumeStanding,
    details: { error?: LatchkeyError; openedBy?: string; isUnmet?: boolean } = {},
  ): void {
    const entry = this.#entry(name);
    const { record } = entry;
    entry.isUnmet = details.isUnmet ?? false;
    record.standing = standing;
    record.settled_ms = this.#now();
    record.opened_by = details.openedBy ?? null;
    record.error = details.error ? reportedError(details.error) : null;
    this.#changed();
  }

  /** Calls back after every change until the signal is aborted. */
  onChange(listener: () => void, signal: AbortSignal): void {
    if (signal.aborted) return;
    this.#listeners.add(listener);
    signal.addEventListener("abort", () => this.#listeners.delete(listener), { once: true });
  }

  /** Resolves once `condition` holds or the signal is aborted. */
  async until(condition: () => boolean, signal: AbortSignal): Promise<void> {
    if (condition() || signal.aborted) return;
    await new Promise<void>((resolve) => {
      const finish = (): void => {
        this.#listeners.delete(check);
        signal.removeEventListener("abort", finish);
        resolve();
      };
      const check = (): void => {
        if (condition()) finish();
      };
      this.#listeners.add(check);
      signal.addEventListener("abort", finish, { once: true });
    });
  }

  #changed(): void {
    for (const listener of [...this.#listeners]) listener();
  }

  #entry(name: string): Entry {
    const entry = this.#entries.get(name);
    if (!entry) throw new RangeError(`no volume named ${name}`);
    return entry;
  }
}

function freshRecord(plan: VolumePlan): VolumeRecord {
  return {
    name: plan.name,
    kind: plan.kind,
    description: null,
    uuid: null,
    devices: [],
    standing: "waiting",
    opened_by: null,
    settled_ms: null,
    error: null,
  };
}
