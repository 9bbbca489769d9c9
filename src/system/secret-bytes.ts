import { type Pointer, ptr, toArrayBuffer } from "bun:ffi";
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
/** `util.inspect.custom`, by its registered name: Bun takes two milliseconds to load node:util. */
const INSPECT = Symbol.for("nodejs.util.inspect.custom");

/** Mapped together for secrets of one page. */
const PAGES_AT_ONCE = 16;
/** What is left of those. */
let untouched = new Uint8Array(0);

/** Page runs that were given back: wiped, still mapped, so that a stale view reads zeros instead of faulting. */
const freeRuns = new Map<number, Uint8Array<ArrayBuffer>[]>();

/**
 * Memory for secrets lives outside the JavaScript heap, in pages of its own: the collector cannot copy it, a core dump
 * leaves it out (MADV_DONTDUMP), a child process does not inherit it (MADV_DONTFORK), and it is not swapped (mlock, best
 * effort: see mlock(2) on RLIMIT_MEMLOCK).
 */
function takePages(size: number): Uint8Array<ArrayBuffer> {
  const length = Math.max(1, Math.ceil(size / PAGE)) * PAGE;
  const reused = freeRuns.get(length)?.pop();
  if (reused) return reused;
  if (length > PAGE) return mapPages(length);
  // Most secrets are short, and opening one token takes a dozen of them.
  if (untouched.length === 0) untouched = mapPages(PAGES_AT_ONCE * PAGE);
  const page = untouched.subarray(0, PAGE);
  untouched = untouched.subarray(PAGE);
  return page;
}

function mapPages(length: number): Uint8Array<ArrayBuffer> {
  const address = Number(libc().mmap(0n, BigInt(length), PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0n));
  // MAP_FAILED is −1, which is 2⁶⁴ − 1 here; addresses of processes end far below what a number holds exactly.
  if (!Number.isSafeInteger(address) || address === 0)
    throw new LatchkeyError("system/no-memory", `no memory for a secret of up to ${length} bytes`);
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
  #pages: Uint8Array<ArrayBuffer> | undefined;
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
  get bytes(): Uint8Array<ArrayBuffer> {
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
    return this.#length === other.length && crypto.timingSafeEqual(this.bytes, other.bytes);
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

  [INSPECT](): string {
    return PLACEHOLDER;
  }
}
