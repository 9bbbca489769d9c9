import type { ErrorCode } from "../system/error-table.ts";
import { LatchkeyError } from "../system/errors.ts";

/**
 * The kernel's buffer for one command or response (TPM_BUFSIZE in drivers/char/tpm/tpm.h); every TPM accepts less. Nothing
 * larger is built, read or believed.
 */
export const MAX_MESSAGE_BYTES = 4096;

/**
 * Reads TPM structures (TPM 2.0 Part 2: all integers big-endian) from bytes that somebody else made. Each step checks what
 * is left before it looks, so that a length that lies ends in an error with the code and name given here.
 */
export class WireReader {
  readonly #bytes: Uint8Array;
  readonly #what: string;
  readonly #code: ErrorCode;
  #offset = 0;

  /** @param what is in the message of an error: `the answer to Load` */
  constructor(bytes: Uint8Array, what: string, code: ErrorCode) {
    this.#bytes = bytes;
    this.#what = what;
    this.#code = code;
  }

  get remaining(): number {
    return this.#bytes.length - this.#offset;
  }

  /** How many octets were read so far. */
  get offset(): number {
    return this.#offset;
  }

  /** A view of the next `length` octets. */
  bytes(length: number): Uint8Array {
    if (length > this.remaining) throw this.fail(`it ends after ${this.#bytes.length} bytes, in the middle of a field`);
    const view = this.#bytes.subarray(this.#offset, this.#offset + length);
    this.#offset += length;
    return view;
  }

  u8(): number {
    return this.#integer(1);
  }

  u16(): number {
    return this.#integer(2);
  }

  u32(): number {
    return this.#integer(4);
  }

  /** A TPM2B: length in two octets, then that many. A view, without the length. */
  sized(): Uint8Array {
    return this.bytes(this.u16());
  }

  /** A TPM2B as it is on the wire: a view with its length. */
  sizedWhole(): Uint8Array {
    const start = this.#offset;
    this.sized();
    return this.#bytes.subarray(start, this.#offset);
  }

  /** Everything that is left. */
  rest(): Uint8Array {
    return this.bytes(this.remaining);
  }

  /** Nothing may follow. */
  end(): void {
    if (this.remaining > 0) throw this.fail(`${this.remaining} bytes follow its end`);
  }

  /** The error for a value that cannot be, found by the caller. */
  fail(why: string): LatchkeyError {
    return new LatchkeyError(this.#code, `${this.#what} cannot be understood: ${why}`);
  }

  #integer(length: number): number {
    const octets = this.bytes(length);
    let value = 0;
    for (let index = 0; index < length; index += 1) value = value * 256 + (octets[index] ?? 0);
    return value;
  }
}

/** Two octets, big-endian. */
export function u16(value: number): Uint8Array {
  return Uint8Array.of(value >>> 8, value);
}

/** Four octets, big-endian. */
export function u32(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
}

/** A TPM2B: the length in two octets, then the bytes. */
export function sized(bytes: Uint8Array): Uint8Array {
  return concat(u16(bytes.length), bytes);
}

/** The parts in a row, in memory of their own. Not for secrets: the copy is not wiped. */
export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of parts) length += part.length;
  const whole = new Uint8Array(length);
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}

/** `0x1df` */
export function hexCode(value: number): string {
  return `0x${value.toString(16)}`;
}

/** Lower-case hex of public bytes. */
export function hex(bytes: Uint8Array): string {
  return bytes.toHex();
}

/** Equal in length and content; for public values only. */
export function sameBytes(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one, other) === 0;
}
