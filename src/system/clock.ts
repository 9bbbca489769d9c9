/** Time as the heart sees it, so that tests can turn it by hand. */
export interface Clock {
  /** Milliseconds of CLOCK_MONOTONIC: since the kernel started, as in the journal. */
  now(): number;
  /** Resolves after `milliseconds`, or at once when the signal is aborted. Never rejects. */
  sleep(milliseconds: number, signal: AbortSignal): Promise<void>;
}

export const monotonicClock: Clock = {
  now: () => Number(process.hrtime.bigint() / 1000n) / 1000,
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
