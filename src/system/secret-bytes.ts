import { type Pointer, ptr, toArrayBuffer } from "bun:ffi";
import { timingSafeEqual } from "node:crypto";
import { inspect } from "node:util";
import { LatchkeyError } from "./errors.ts";
import { libc } from "./libc.ts";

/** Larger than any passphrase or key file we accept; bounds what a hostile stick or token makes us hold. */
export const MAX_SECRET_BYTES = 8 * 1024 * 1024;

const PAGE = 4096;
const PROT_READ_WRITE = 0x1 | 0x2;
const MAP_PRIVATE_ANONYMOUS = 0x2 | 0x20;
const MADV_DONTDUMP = 16;
const MADV_DONTFORK = 10;
const PLACEHOLDER = "[secret]";

/** Page runs that were given back: wiped, still mapped, so that a stale view reads zeros instead of faulting. */
const freeRuns = new Map<number, Uint8Array[]>();

/**
 * Memory for secrets lives outside the JavaScript heap, in pages of its own: the collector cannot copy it, a core dump
 * leaves it out (MADV_DONTDUMP), a child process does not inherit it (MADV_DONTFORK), and it is not swapped (mlock, best
 * effort: see mlock(2) on RLIMIT_MEMLOCK).
 */
function takePages(size: number): Uint8Array {
  const length = Math.max(1, Math.ceil(size / PAGE)) * PAGE;
  const reused = freeRuns.get(length)?.pop();
  if (reused) return reused;
  const address = Number(libc().mmap(0n, BigInt(length), PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0n));
  if (!(address > 0)) throw new LatchkeyError("system/no-memory", `no memory for a secret of ${size} bytes`);
  libc().madvise(BigInt(address), BigInt(length), MADV_DONTDUMP);
  libc().madvise(BigInt(address), BigInt(length), MADV_DONTFORK);
  libc().mlock(BigInt(address), BigInt(length));
  return new Uint8Array(toArrayBuffer(address as Pointer, 0, length));
}

/**
 * Secret bytes with a scope: `using secret = …` wipes them at its end. They print as a placeholder, refuse to become JSON
 * or a string, and are compared in constant time. `bytes` is a view to hand to crypto and to read(2)/write(2), never to
 * keep or copy.
 */
export class SecretBytes implements Disposable {
  #pages: Uint8Array | undefined;
  #length: number;

  private constructor(length: number) {
    if (!Number.isSafeInteger(length) || length < 0 || length > MAX_SECRET_BYTES) {
      throw new LatchkeyError(
        "system/secret-too-long",
        `a secret of ${length} bytes is over the limit of ${MAX_SECRET_BYTES}`,
      );
    }
    this.#pages = takePages(length);
    this.#length = length;
  }

  /** Zeroed room for `length` bytes, to be filled in place. */
  static allocate(length: number): SecretBytes {
    return new SecretBytes(length);
  }

  /** Takes the bytes over and wipes where they were. */
  static take(source: Uint8Array): SecretBytes {
    const secret = new SecretBytes(source.length);
    secret.bytes.set(source);
    source.fill(0);
    return secret;
  }

  get length(): number {
    return this.#length;
  }

  get isDisposed(): boolean {
    return this.#pages === undefined;
  }

  /** The bytes in place. Throws after the scope has ended. */
  get bytes(): Uint8Array {
    if (!this.#pages) throw new LatchkeyError("internal/defect", "a secret was used after the end of its scope");
    return this.#pages.subarray(0, this.#length);
  }

  /** Where the bytes are, for a system call or a worker thread of this process; valid until the scope ends. */
  get address(): number {
    return ptr(this.bytes);
  }

  /** Shortens in place, wiping the rest: for reads that gave less than there was room for. */
  truncate(length: number): this {
    const bytes = this.bytes;
    bytes.subarray(length).fill(0);
    this.#length = Math.min(this.#length, length);
    return this;
  }

  /** A second secret with the same bytes and a scope of its own. */
  clone(): SecretBytes {
    const copy = new SecretBytes(this.#length);
    copy.bytes.set(this.bytes);
    return copy;
  }

  /** Equal in content? The time taken depends on the lengths only. */
  equals(other: SecretBytes): boolean {
    return this.#length === other.length && timingSafeEqual(this.bytes, other.bytes);
  }

  [Symbol.dispose](): void {
    const pages = this.#pages;
    if (!pages) return;
    this.#pages = undefined;
    pages.fill(0);
    const runs = freeRuns.get(pages.length) ?? [];
    runs.push(pages);
    freeRuns.set(pages.length, runs);
  }

  toString(): string {
    return PLACEHOLDER;
  }

  toJSON(): never {
    throw new LatchkeyError("internal/defect", "a secret was about to become JSON");
  }

  [Symbol.toPrimitive](): never {
    throw new LatchkeyError("internal/defect", "a secret was about to become a string or number");
  }

  [inspect.custom](): string {
    return PLACEHOLDER;
  }
}
