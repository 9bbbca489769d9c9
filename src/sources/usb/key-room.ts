import { type Pointer, ptr, toArrayBuffer } from "bun:ffi";
import { closeSync, ftruncateSync } from "node:fs";
import { LatchkeyError } from "../../system/errors.ts";
import { cString, errnoName, lastErrno, libc } from "../../system/libc.ts";
import { MAX_SECRET_BYTES, SecretBytes } from "../../system/secret-bytes.ts";

/** What direct reads (O_DIRECT) are aligned to: every device's blocks fit into it. */
export const ALIGNMENT = 4096;

/** The largest key, and a block on either side of it for reads that start or end inside of one. */
const ROOM_BYTES = MAX_SECRET_BYTES + 2 * ALIGNMENT;

const PROT_READ_WRITE = 0x1 | 0x2;
const MAP_SHARED = 0x1;
const MADV_DONTDUMP = 16;
const MFD_CLOEXEC = 1;
/** lseek(2): in a memfd, what was written to is data and the rest a hole. */
const SEEK_DATA = 3;
const SEEK_HOLE = 4;

/**
 * Memory that a reader and whoever started it both see: the device writes the key straight into it, and no pipe keeps a copy of it in
 * pages that nobody wipes. Nothing is at rest: it is a file without a name (memfd), not swapped where the system lets us lock it.
 */
export class KeyRoom implements Disposable {
  readonly descriptor: number;
  readonly #address: number;
  #bytes: Uint8Array | undefined;

  private constructor(descriptor: number) {
    this.descriptor = descriptor;
    const address = Number(libc().mmap(0n, BigInt(ROOM_BYTES), PROT_READ_WRITE, MAP_SHARED, descriptor, 0n));
    if (!Number.isSafeInteger(address) || address === 0) throw noRoom(); // MAP_FAILED is −1, here 2⁶⁴ − 1
    this.#address = address;
    libc().madvise(BigInt(address), BigInt(ROOM_BYTES), MADV_DONTDUMP);
    this.#bytes = new Uint8Array(toArrayBuffer(address as Pointer, 0, ROOM_BYTES));
  }

  /** @throws LatchkeyError system/no-memory */
  static create(): KeyRoom {
    const descriptor = libc().memfd_create(ptr(cString("latchkey")), MFD_CLOEXEC);
    if (descriptor < 0) throw noRoom();
    try {
      ftruncateSync(descriptor, ROOM_BYTES);
      return new KeyRoom(descriptor);
    } catch (thrown) {
      closeSync(descriptor);
      throw thrown;
    }
  }

  /** The room that a parent made, in the process that it started. */
  static inherited(descriptor: number): KeyRoom {
    return new KeyRoom(descriptor);
  }

  get bytes(): Uint8Array {
    if (!this.#bytes) throw new LatchkeyError("internal/defect", "a key room was used after its end");
    return this.#bytes;
  }

  /** Where byte `offset` is, for a system call. */
  addressOf(offset: number): Pointer {
    return (this.#address + offset) as Pointer;
  }

  /** The first `length` bytes as a secret; here everything is wiped. */
  take(length: number): SecretBytes {
    try {
      return SecretBytes.take(this.bytes.subarray(0, length));
    } finally {
      this.wipe();
    }
  }

  /** Wipes whatever was written here. Pages that nobody has touched stay untouched, and take no memory. */
  wipe(): void {
    for (let at = 0; ; ) {
      const start = Number(libc().lseek(this.descriptor, BigInt(at), SEEK_DATA));
      if (start < 0 || start >= ROOM_BYTES) return; // ENXIO: nothing more
      const end = Number(libc().lseek(this.descriptor, BigInt(start), SEEK_HOLE));
      at = end > start ? end : ROOM_BYTES;
      this.bytes.fill(0, start, at);
    }
  }

  [Symbol.dispose](): void {
    if (!this.#bytes) return;
    this.wipe();
    this.#bytes = undefined;
    libc().munmap(BigInt(this.#address), BigInt(ROOM_BYTES));
    closeSync(this.descriptor);
  }
}

function noRoom(): LatchkeyError {
  return new LatchkeyError("system/no-memory", `there is no memory to read a key into (${errnoName(lastErrno())})`);
}
