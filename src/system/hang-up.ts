import { libc } from "./libc.ts";

const POLLERR = 0x8;
const POLLHUP = 0x10;
const LOOK_EVERY = 200;

/**
 * A signal that is aborted when nobody is left at the other end of a pipe, socket or terminal, poll(2). The kernel tells by a
 * signal only who has a terminal.
 */
export function hangUpSignal(descriptor: number): AbortSignal {
  const gone = new AbortController();
  const entry = new Uint8Array(8); // struct pollfd; no events asked for, those of the end come all the same
  const view = new DataView(entry.buffer);
  view.setInt32(0, descriptor, true);
  const timer = setInterval(() => {
    if (libc().poll(entry, 1n, 0) <= 0 || (view.getInt16(6, true) & (POLLERR | POLLHUP)) === 0) return;
    clearInterval(timer);
    gone.abort();
  }, LOOK_EVERY);
  timer.unref();
  return gone.signal;
}
