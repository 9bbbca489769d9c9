import type { KeyReader } from "../../sources/usb/key-reader.ts";
import type { Sticks } from "../../sources/usb/sticks.ts";
import { LatchkeyError } from "../../system/errors.ts";
import { type FoundStick, findStick } from "./find-stick.ts";

/** Milliseconds for a person to find another stick and put it in. */
export const NEXT_STICK_LIMIT = 180_000;

/**
 * The first filesystem on something removable that comes from now on.
 * @throws LatchkeyError usb/absent, enroll/interrupted
 */
export async function waitForNewStick(
  sticks: Sticks,
  reader: KeyReader,
  signal: AbortSignal,
  limit: number = NEXT_STICK_LIMIT,
): Promise<FoundStick> {
  const before = new Set((await sticks.list()).map(({ occurrence }) => occurrence));
  const late = AbortSignal.timeout(limit);
  for await (const _ of sticks.changes(AbortSignal.any([signal, late]))) {
    for (const { path, occurrence, isRemovable } of await sticks.list()) {
      if (before.has(occurrence) || !isRemovable) continue;
      before.add(occurrence);
      try {
        return await findStick({ device: path }, { reader, anyBus: false }, signal);
      } catch (thrown) {
        // The disk around the partition, or a partition that holds no files: the next one may do.
        if (!(thrown instanceof LatchkeyError) || thrown.code !== "enroll/not-a-stick") throw thrown;
      }
    }
  }
  if (signal.aborted) throw new LatchkeyError("enroll/interrupted", "stopped before a second stick was there");
  throw new LatchkeyError("usb/absent", `no second stick came within ${limit / 1000} s; the first one is done`);
}
