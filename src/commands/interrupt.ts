/**
 * A signal that is aborted by SIGINT, SIGTERM and SIGHUP, so that questions are taken down and secrets wiped before the
 * process ends.
 */
export function abortOnSignals(): AbortSignal {
  const controller = new AbortController();
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.once(name, () => controller.abort());
  }
  return controller.signal;
}
