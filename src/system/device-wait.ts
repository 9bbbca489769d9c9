import type { BlockDevices } from "./block-devices.ts";
import type { Clock } from "./clock.ts";
import { LatchkeyError } from "./errors.ts";

/** Milliseconds one device may take for its superblocks; a dying disk takes minutes and must not hold up the others. */
const PROBE_LIMIT = 5000;

/** Yields at once and after each change of the devices, until the limit (milliseconds) or the signal. */
export async function* lookAgain(
  devices: Pick<BlockDevices, "changes">,
  clock: Clock,
  limit: number,
  signal: AbortSignal,
): AsyncGenerator<void> {
  const over = new AbortController();
  const stop = AbortSignal.any([signal, over.signal]);
  const changes = devices.changes(stop)[Symbol.asyncIterator]();
  clock.sleep(limit, stop).then(
    () => over.abort(),
    () => over.abort(),
  );
  // Asked before the first look, so that what changes during it is not missed.
  let next = changes.next();
  try {
    while (!stop.aborted) {
      yield;
      if ((await next).done) return;
      next = changes.next();
    }
  } finally {
    over.abort();
  }
}

/** Devices that did not answer in time are not asked again. */
export class Prober {
  readonly #clock: Clock;
  readonly #silent = new Set<string>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** What `probe` makes of the device. @throws LatchkeyError device/no-answer, and whatever `probe` throws */
  async ask<T>(path: string, probe: () => Promise<T>): Promise<T> {
    const silence = new LatchkeyError(
      "device/no-answer",
      `${path} did not answer within ${secondsText(PROBE_LIMIT)}: the disk or its cable may be failing`,
    );
    if (this.#silent.has(path)) throw silence;
    const done = new AbortController();
    const late = this.#clock.sleep(PROBE_LIMIT, done.signal).then(() => "late" as const);
    try {
      const answer = await Promise.race([probe().then((value) => ({ value })), late]);
      if (answer !== "late") return answer.value;
      this.#silent.add(path);
      throw silence;
    } finally {
      done.abort();
    }
  }
}

/** @param limit milliseconds that were waited for it */
export function absence(limit: number): string {
  return limit === 0 ? "is not there" : `did not appear within ${secondsText(limit)}`;
}

function secondsText(milliseconds: number): string {
  return `${Math.round(milliseconds / 100) / 10} s`;
}
