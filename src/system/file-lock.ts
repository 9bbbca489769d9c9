import { closeSync, constants, openSync } from "node:fs";
import type { Clock } from "./clock.ts";
import { errnoName, lastErrno, libc } from "./libc.ts";

/** flock(2) */
const LOCK_EX = 2;
const LOCK_NB = 4;
/** open(2), as in include/uapi/asm-generic/fcntl.h: a child must not keep the lock. */
const O_CLOEXEC = 0o2000000;

/** Milliseconds between two tries: flock(2) that waits would hold up everything else. */
const TRY_EVERY = 200;

/**
 * Takes a lock that ends with this process at the latest, however it ends.
 * @param path of the lock's file, which is made, and stays
 * @param onWait called once when somebody else has it
 * @returns undefined when the signal was aborted first, or where there can be no lock: then nobody waits for anybody
 */
export async function lockFile(
  path: string,
  clock: Clock,
  signal: AbortSignal,
  onWait: () => void = () => undefined,
): Promise<Disposable | undefined> {
  let file: number;
  try {
    file = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW | O_CLOEXEC, 0o600);
  } catch {
    return undefined;
  }
  let isTold = false;
  while (!signal.aborted) {
    if (libc().flock(file, LOCK_EX | LOCK_NB) === 0) return { [Symbol.dispose]: () => closeSync(file) };
    if (errnoName(lastErrno()) !== "EAGAIN") break;
    if (!isTold) onWait();
    isTold = true;
    await clock.sleep(TRY_EVERY, signal);
  }
  closeSync(file);
  return undefined;
}
