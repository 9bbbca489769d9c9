import { ptr } from "bun:ffi";
import { errnoName, lastErrno, libc } from "./libc.ts";

/** What write(2) said: how many bytes it took, or the name of its error. */
export type Written = { readonly bytes: number } | { readonly errno: string };

/**
 * write(2), once, on an open file. Not through node:fs: with it a program that only writes its answer takes a millisecond
 * more to start.
 * @param bytes not empty
 */
export function writeSome(descriptor: number, bytes: Uint8Array): Written {
  for (;;) {
    const count = Number(libc().write(descriptor, ptr(bytes), BigInt(bytes.length)));
    if (count >= 0) return { bytes: count };
    const errno = errnoName(lastErrno());
    if (errno !== "EINTR") return { errno };
  }
}
