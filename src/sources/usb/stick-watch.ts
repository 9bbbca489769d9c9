import { asLatchkeyError, LatchkeyError } from "../../system/errors.ts";
import type { KeyReader } from "./key-reader.ts";
import type { DeviceIdentity } from "./reader-protocol.ts";
import type { Stick, Sticks } from "./sticks.ts";

/** A stick that is in now, and what is on it. */
export interface SeenStick {
  readonly stick: Stick;
  readonly identity: DeviceIdentity;
}

/** Somebody who waits for sticks. */
export interface StickListener {
  /** Sticks that are neither removable nor on a USB bus are of interest, too. */
  readonly anyBus: boolean;
  /** Called once for each time that a stick is put in. */
  onStick(seen: SeenStick): void;
  /** A stick that cannot even be looked at. */
  onUnreadable(stick: Stick, reason: LatchkeyError): void;
  /** A stick is out again. */
  onGone(stick: Stick): void;
}

/**
 * Watches for sticks on behalf of all sources of a run: each stick is looked at once, by whichever reader is free, and everybody is told.
 * Runs while somebody listens.
 */
export class StickWatch {
  readonly #sticks: Sticks;
  readonly #reader: KeyReader;
  readonly #listeners = new Set<StickListener>();
  /** By occurrence; what is not known yet is being looked at. */
  readonly #present = new Map<string, { readonly stick: Stick; seen?: SeenStick }>();
  #over: AbortController | undefined;

  constructor(sticks: Sticks, reader: KeyReader) {
    this.#sticks = sticks;
    this.#reader = reader;
  }

  /** Tells the listener of every stick that is in, and of all that come, until the signal is aborted. */
  listen(listener: StickListener, signal: AbortSignal): void {
    if (signal.aborted) return;
    this.#listeners.add(listener);
    const over = this.#over ?? new AbortController();
    signal.addEventListener(
      "abort",
      () => {
        this.#listeners.delete(listener);
        if (this.#listeners.size > 0) return;
        over.abort();
        this.#over = undefined;
        this.#present.clear();
      },
      { once: true },
    );
    if (this.#over) {
      for (const { seen } of this.#present.values()) if (seen) tell(listener, seen);
      void this.#look(over.signal); // it may want devices that nobody wanted before
      return;
    }
    this.#over = over;
    void this.#watch(over.signal);
  }

  async #watch(signal: AbortSignal): Promise<void> {
    await this.#look(signal);
    for await (const _ of this.#sticks.changes(signal)) await this.#look(signal);
  }

  async #look(signal: AbortSignal): Promise<void> {
    const now = await this.#sticks.list().catch(() => []);
    if (signal.aborted) return;
    const isIn = new Set(now.map(({ occurrence }) => occurrence));
    for (const [occurrence, { stick }] of this.#present) {
      if (isIn.has(occurrence)) continue;
      this.#present.delete(occurrence);
      for (const listener of [...this.#listeners]) listener.onGone(stick);
    }
    for (const stick of now) {
      if (this.#present.has(stick.occurrence) || !this.#isWanted(stick)) continue;
      this.#present.set(stick.occurrence, { stick });
      void this.#identify(stick, signal);
    }
  }

  #isWanted(stick: Stick): boolean {
    return [...this.#listeners].some((listener) => wants(listener, stick));
  }

  async #identify(stick: Stick, signal: AbortSignal): Promise<void> {
    try {
      const identity = await this.#reader.identify(stick.path, stick.partitionOf, signal);
      const entry = this.#present.get(stick.occurrence);
      if (!entry || signal.aborted) return;
      entry.seen = { stick, identity };
      for (const listener of [...this.#listeners]) tell(listener, entry.seen);
    } catch (thrown) {
      const error = asLatchkeyError(thrown);
      if (signal.aborted) return;
      // On its way in or out: looked at again when something changes.
      if (error.code === "device/missing") this.#present.delete(stick.occurrence);
      else for (const listener of [...this.#listeners]) if (wants(listener, stick)) listener.onUnreadable(stick, error);
    }
  }
}

function wants({ anyBus }: StickListener, { isRemovable }: Stick): boolean {
  return anyBus || isRemovable;
}

function tell(listener: StickListener, seen: SeenStick): void {
  if (wants(listener, seen.stick)) listener.onStick(seen);
}

/** @throws LatchkeyError usb/ambiguous when what the stick is cannot be told */
export function onlyFilesystem({ stick, identity }: SeenStick): DeviceIdentity["filesystems"][number] {
  const [only, ...others] = identity.filesystems;
  if (only && others.length === 0) return only;
  const types = identity.filesystems.map(({ type }) => type).join(" and ");
  throw new LatchkeyError("usb/ambiguous", `${stick.path} has traces of ${types}, and which it is cannot be told`, {
    hint: "make its filesystem anew after wipefs -a",
  });
}
