/** signal(7); the same on every processor. */
const numbers = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;

/**
 * A signal that is aborted by SIGINT, SIGTERM and SIGHUP, so that questions are taken down, sockets closed and secrets wiped
 * before the process ends. A second one ends it at once.
 */
export function abortOnSignals(): AbortSignal {
  const controller = new AbortController();
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    // Not once(): a listener that is gone when the next one runs tells that one (at-exit.ts) that nobody tidies up.
    process.on(name, () => {
      if (controller.signal.aborted) process.exit(128 + numbers[name]);
      controller.abort();
    });
  }
  return controller.signal;
}
