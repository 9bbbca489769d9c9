import type { Clock } from "../../system/clock.ts";
import { asLatchkeyError, LatchkeyError } from "../../system/errors.ts";
import type { Gathered } from "./facts.ts";

/**
 * Looks at one thing. Whatever goes wrong is what was found out about it, and so is that it takes too long.
 * @param what for messages: `the image /boot/initrd.img`
 * @param limit milliseconds; the work goes on behind our back until its signal ends it
 */
export async function gathered<T>(
  what: string,
  limit: number,
  clock: Clock,
  signal: AbortSignal,
  look: (signal: AbortSignal) => Promise<T>,
): Promise<Gathered<T>> {
  const over = new AbortController();
  const either = AbortSignal.any([signal, over.signal]);
  const work = Promise.try(() => look(either)).then(
    (value): Gathered<T> => ({ value }),
    (thrown: unknown): Gathered<T> => ({ error: asReason(what, thrown) }),
  );
  const late = clock.sleep(limit, either).then((): Gathered<T> => {
    const why = signal.aborted ? "was not looked at: interrupted" : `did not answer within ${limit / 1000} s`;
    return { error: new LatchkeyError("check/no-answer", `${what} ${why}`) };
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    over.abort();
  }
}

/** The same for what is only read. */
export function gatheredNow<T>(what: string, look: () => T): Gathered<T> {
  try {
    return { value: look() };
  } catch (thrown) {
    return { error: asReason(what, thrown) };
  }
}

function asReason(what: string, thrown: unknown): LatchkeyError {
  if (thrown instanceof LatchkeyError) return thrown;
  const code = thrown instanceof Error && "code" in thrown ? String(thrown.code) : "";
  if (!/^E[A-Z0-9]+$/.test(code)) return asLatchkeyError(thrown);
  const hint = code === "EACCES" || code === "EPERM" ? { hint: "run it as root" } : {};
  return new LatchkeyError("check/unreadable", `${what} cannot be read (${code})`, { cause: thrown, ...hint });
}

/** Whoever may not read something has found nothing wrong with it. */
export function isDenied({ code, message }: LatchkeyError): boolean {
  return code === "device/permission-denied" || /\((?:EACCES|EPERM)\)/.test(message);
}
