import { asLatchkeyError } from "./errors.ts";

/** The promise's result; undefined as soon as the signal is aborted. What it throws after that is of no interest. */
export function beforeAbort<T>(promise: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const abort = (): void => resolve(undefined);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort);
    promise
      .then(resolve, (thrown: unknown) => reject(asLatchkeyError(thrown)))
      .finally(() => signal.removeEventListener("abort", abort));
  });
}

/** Resolves when the signal is aborted. */
export function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
