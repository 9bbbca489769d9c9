import { ptr } from "bun:ffi";
import { errnoName, lastErrno, libc } from "./libc.ts";

/** What read(2) or write(2) said: how many bytes went over, or the name of the error. */
export type Transferred = { readonly bytes: number } | { readonly errno: string };

/**
 * read(2), once, from an open file. Not through node:fs: with it a program that does little else takes a millisecond more to
 * start.
 * @param room not empty; 0 bytes are the end
 */
export function readSome(descriptor: number, room: Uint8Array): Transferred {
  return uninterrupted(() => libc().read(descriptor, ptr(room), BigInt(room.length)));
}

/**
 * write(2), once, to an open file.
 * @param bytes not empty
 */
export function writeSome(descriptor: number, bytes: Uint8Array): Transferred {
  return uninterrupted(() => libc().write(descriptor, ptr(bytes), BigInt(bytes.length)));
}

/** Again after a signal that was dealt with. */
function uninterrupted(call: () => bigint): Transferred {
  for (;;) {
    const count = Number(call());
    if (count >= 0) return { bytes: count };
    const errno = errnoName(lastErrno());
    if (errno !== "EINTR") return { errno };
  }
}
