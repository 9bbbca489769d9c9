import { constants } from "node:os";

/** Signals that end a process and leave it time to tidy up, signal(7). */
const SIGNALS = ["SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM"] as const;

const cleanups = new Set<() => void>();

function cleanUp(): void {
  for (const cleanup of cleanups) cleanup();
  cleanups.clear();
}

function onSignal(signal: (typeof SIGNALS)[number]): void {
  // Somebody else handles this signal: they abort what is running, and the exit event covers the rest.
  if (process.listenerCount(signal) > 1) return;
  cleanUp();
  stopListening();
  process.kill(process.pid, constants.signals[signal]);
}

function stopListening(): void {
  process.removeListener("exit", cleanUp);
  for (const signal of SIGNALS) process.removeListener(signal, onSignal);
}

/**
 * Runs `cleanup` should the process end before the result is disposed: a terminal that shows nothing, or a question nobody
 * waits for, must not outlive us. Nothing helps against SIGKILL; agents then drop the question because its PID is gone.
 */
export function atExit(cleanup: () => void): Disposable {
  if (cleanups.size === 0) {
    process.on("exit", cleanUp);
    for (const signal of SIGNALS) process.on(signal, onSignal);
  }
  cleanups.add(cleanup);
  return {
    [Symbol.dispose]() {
      if (cleanups.delete(cleanup) && cleanups.size === 0) stopListening();
    },
  };
}
