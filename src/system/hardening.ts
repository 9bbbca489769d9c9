import { ptr } from "bun:ffi";
import { libc } from "./libc.ts";

const PR_SET_DUMPABLE = 4;
const RLIMIT_CORE = 4;
const MCL_CURRENT_FUTURE_ONFAULT = 1 | 2 | 4;

export interface Hardening {
  /** No core dump and no ptrace by processes of the same user, prctl(2). */
  readonly undumpable: boolean;
  /** Nothing of this process is swapped out, mlockall(2); needs root or CAP_IPC_LOCK. */
  readonly memoryLocked: boolean;
}

/**
 * Called first by every command that handles secrets. Best effort: a refusal is returned, not thrown, since a machine that
 * cannot lock memory must still boot.
 *
 * MCL_ONFAULT locks pages as they are touched: without it mlockall would try to make Bun's gigabytes of reserved address
 * space resident.
 */
export function hardenProcess(): Hardening {
  const undumpable = libc().prctl(PR_SET_DUMPABLE, 0n, 0n, 0n, 0n) === 0;
  const noCore = new BigUint64Array([0n, 0n]);
  libc().setrlimit(RLIMIT_CORE, ptr(noCore));
  const memoryLocked = process.getuid?.() === 0 && libc().mlockall(MCL_CURRENT_FUTURE_ONFAULT) === 0;
  return { undumpable, memoryLocked };
}

/**
 * A dead man's switch: SIGALRM, left at its default action, ends the process when the event loop has not turned for
 * `seconds`. A defect that spins then becomes a crash, and a crash lets the boot go on to the system's own question.
 * @returns a function that disarms it
 */
export function armDeadMansSwitch(seconds: number): () => void {
  const rearm = (): void => {
    libc().alarm(seconds);
  };
  rearm();
  const timer = setInterval(rearm, (seconds * 1000) / 4);
  timer.unref();
  return () => {
    clearInterval(timer);
    libc().alarm(0);
  };
}
