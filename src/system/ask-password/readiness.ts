import { LatchkeyError } from "../errors.ts";
import { libc } from "../libc.ts";

const POLLIN = 0x1;
const POLLERR = 0x8;
const POLLHUP = 0x10;
const POLLNVAL = 0x20;

/**
 * Milliseconds between two looks while a question is up. Short, because systemd's agent shows a question again when it
 * looks into the folder after it has answered and the question is still there; a look costs a microsecond.
 */
const LOOK_EVERY = 20;

export interface Readiness {
  /** Something waits to be read, or the other side has gone and reading will say so. */
  readonly isHungUp: boolean;
}

/**
 * Resolves when reading from `fd` would not block; undefined as soon as the signal is aborted.
 *
 * Why a timer and poll(2): Bun's event loop watches descriptors only for streams of its own, and those read into buffers
 * that keep a copy of a passphrase. A blocking read on Bun's thread pool cannot be called back when another source wins, and
 * would keep the process from ending. A worker thread costs a second JavaScript heap (tens of megabytes in an initrd).
 */
export function whenReadable(fd: number, signal: AbortSignal): Promise<Readiness | undefined> {
  return new Promise((resolve, reject) => {
    let timer: Timer | undefined;
    const finish = (settle: () => void): void => {
      clearInterval(timer);
      signal.removeEventListener("abort", abort);
      settle();
    };
    const abort = (): void => finish(() => resolve(undefined));
    const pollNow = pollerOf(fd);
    const look = (): void => {
      const events = pollNow();
      if ((events & POLLNVAL) !== 0) {
        finish(() =>
          reject(new LatchkeyError("internal/defect", "a question's descriptor was closed while it waited")),
        );
      } else if (events !== 0) {
        finish(() => resolve({ isHungUp: (events & (POLLHUP | POLLERR)) !== 0 }));
      }
    };
    if (signal.aborted) return resolve(undefined);
    signal.addEventListener("abort", abort);
    timer = setInterval(look, LOOK_EVERY);
    look();
  });
}

/** A function that gives the events of poll(2) that hold now; none when the call was interrupted. */
function pollerOf(fd: number): () => number {
  const entry = new Uint8Array(8); // struct pollfd: fd, events, revents
  const view = new DataView(entry.buffer);
  view.setInt32(0, fd, true);
  view.setInt16(4, POLLIN, true);
  return () => (libc().poll(entry, 1n, 0) > 0 ? view.getInt16(6, true) : 0);
}
