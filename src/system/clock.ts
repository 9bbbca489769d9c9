import { ptr } from "bun:ffi";
import { libc } from "./libc.ts";

/** Time as the heart sees it, so that tests can turn it by hand. */
export interface Clock {
  /** Milliseconds of CLOCK_MONOTONIC: since the kernel started, as in the journal. */
  now(): number;
  /** Resolves after `milliseconds`, or at once when the signal is aborted. Never rejects. */
  sleep(milliseconds: number, signal: AbortSignal): Promise<void>;
}

const CLOCK_MONOTONIC = 1;

/** Bun counts from the start of the process, even in process.hrtime; the kernel's clock is asked once for the difference. */
let startOfProcess: number | undefined;

function millisecondsOfKernelClock(): number {
  const time = new BigInt64Array(2); // struct timespec: seconds, nanoseconds
  libc().clock_gettime(CLOCK_MONOTONIC, ptr(time));
  return Number((time[0] ?? 0n) * 1000n) + Number(time[1] ?? 0n) / 1e6;
}

export const monotonicClock: Clock = {
  now: () => {
    startOfProcess ??= millisecondsOfKernelClock() - performance.now();
    return Math.round((startOfProcess + performance.now()) * 1000) / 1000;
  },
  sleep: (milliseconds, signal) =>
    new Promise((resolve) => {
      if (signal.aborted) return resolve();
      const finish = (): void => {
        clearTimeout(timer);
        signal.removeEventListener("abort", finish);
        resolve();
      };
      const timer = setTimeout(finish, milliseconds);
      signal.addEventListener("abort", finish);
    }),
};
