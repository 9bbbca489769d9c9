import { LatchkeyError } from "./errors.ts";
import { SecretBytes } from "./secret-bytes.ts";

/** Words of a key, of 128 bits or of 256, and the rounds that go with it (FIPS 197 table 3). */
const rounds: Readonly<Record<number, number>> = { 4: 10, 8: 14 };

/** The S-box, FIPS 197 figure 7. */
const sBox = Uint8Array.fromHex(
  "637c777bf26b6fc53001672bfed7ab76ca82c97dfa5947f0add4a2af9ca472c0" +
    "b7fd9326363ff7cc34a5e5f171d8311504c723c31896059a071280e2eb27b275" +
    "09832c1a1b6e5aa0523bd6b329e32f8453d100ed20fcb15b6acbbe394a4c58cf" +
    "d0efaafb434d338545f9027f503c9fa851a3408f929d38f5bcb6da2110fff3d2" +
    "cd0c13ec5f974417c4a77e3d645d197360814fdc222a908846eeb814de5e0bdb" +
    "e0323a0a4906245cc2d3ac629195e479e7c8376d8dd54ea96c56f4ea657aae08" +
    "ba78252e1ca6b4c6e8dd741f4bbd8b8a703eb5664803f60e613557b986c11d9e" +
    "e1f8981169d98e949b1e87e9ce5528df8ca1890dbfe6426841992d0fb054bb16",
);

/** For each octet in each of the four rows the column that SubBytes and MixColumns make of it together. */
const columns = mixedColumns();

/**
 * AES forwards, which is all that GCM and CFB ask for (FIPS 197). Bun's own cipher leaves 24 of a key's 32 octets behind in
 * memory it has freed, where neither we nor its collector wipe them; here key and schedule are in pages that are wiped.
 * Tables are looked up by secret octets, which other processes of the machine could measure in its caches; but every key is
 * used for one token or one answer, once, which gives them nothing to average over.
 *
 * All words are signed: what has 32 bits and no sign is a floating-point number to the interpreter, which then takes ten times
 * as long, and a program that opens one token ends before anything of it is compiled.
 */
export class Aes implements Disposable {
  readonly #pages: SecretBytes;
  readonly #schedule: Int32Array;
  readonly #rounds: number;

  /** @param key 16 octets or 32; stay the caller's */
  constructor(key: Uint8Array) {
    const words = key.length / Int32Array.BYTES_PER_ELEMENT;
    this.#rounds = rounds[words] ?? 0;
    if (this.#rounds === 0) throw new LatchkeyError("internal/defect", `AES was given a key of ${key.length} bytes`);
    const scheduleWords = 4 * (this.#rounds + 1);
    this.#pages = SecretBytes.allocate(scheduleWords * Int32Array.BYTES_PER_ELEMENT);
    const { buffer, byteOffset } = this.#pages.bytes;
    this.#schedule = new Int32Array(buffer, byteOffset, scheduleWords);
    this.#expand(key, words);
  }

  /** Encrypts four big-endian words in place. */
  encrypt(block: Int32Array): void {
    const key = this.#schedule;
    let a = (block[0] ?? 0) ^ (key[0] ?? 0);
    let b = (block[1] ?? 0) ^ (key[1] ?? 0);
    let c = (block[2] ?? 0) ^ (key[2] ?? 0);
    let d = (block[3] ?? 0) ^ (key[3] ?? 0);
    for (let round = 1; round < this.#rounds; round += 1) {
      const next = 4 * round;
      // ShiftRows: each column takes its octets from four columns.
      const nextA = mixed(a, b, c, d) ^ (key[next] ?? 0);
      const nextB = mixed(b, c, d, a) ^ (key[next + 1] ?? 0);
      const nextC = mixed(c, d, a, b) ^ (key[next + 2] ?? 0);
      d = mixed(d, a, b, c) ^ (key[next + 3] ?? 0);
      a = nextA;
      b = nextB;
      c = nextC;
    }
    const last = 4 * this.#rounds;
    block[0] = substituted(a, b, c, d) ^ (key[last] ?? 0);
    block[1] = substituted(b, c, d, a) ^ (key[last + 1] ?? 0);
    block[2] = substituted(c, d, a, b) ^ (key[last + 2] ?? 0);
    block[3] = substituted(d, a, b, c) ^ (key[last + 3] ?? 0);
  }

  [Symbol.dispose](): void {
    this.#pages[Symbol.dispose]();
  }

  /** FIPS 197 section 5.2. */
  #expand(key: Uint8Array, keyWords: number): void {
    const schedule = this.#schedule;
    const view = new DataView(key.buffer, key.byteOffset, key.length);
    for (let word = 0; word < keyWords; word += 1) schedule[word] = view.getInt32(4 * word);
    let constant = 1;
    for (let word = keyWords; word < schedule.length; word += 1) {
      let previous = schedule[word - 1] ?? 0;
      if (word % keyWords === 0) {
        const rotated = (previous << 8) | (previous >>> 24);
        previous = substituted(rotated, rotated, rotated, rotated) ^ (constant << 24);
        constant = twice(constant);
      } else if (keyWords > 6 && word % keyWords === 4) {
        previous = substituted(previous, previous, previous, previous);
      }
      schedule[word] = (schedule[word - keyWords] ?? 0) ^ previous;
    }
  }
}

/** SubBytes, ShiftRows and MixColumns for one column, whose octets come from four. Octets are indices that are always inside. */
function mixed(first: number, second: number, third: number, fourth: number): number {
  return (
    (columns[first >>> 24] as number) ^
    (columns[0x100 | ((second >>> 16) & 0xff)] as number) ^
    (columns[0x200 | ((third >>> 8) & 0xff)] as number) ^
    (columns[0x300 | (fourth & 0xff)] as number)
  );
}

/** The last round has no MixColumns. */
function substituted(first: number, second: number, third: number, fourth: number): number {
  return (
    ((sBox[first >>> 24] as number) << 24) |
    ((sBox[(second >>> 16) & 0xff] as number) << 16) |
    ((sBox[(third >>> 8) & 0xff] as number) << 8) |
    (sBox[fourth & 0xff] as number)
  );
}

/** FIPS 197 section 5.1.3: an octet goes into its column twice, once, once and three times, modulo x⁸ + x⁴ + x³ + x + 1. */
function mixedColumns(): Int32Array {
  const table = new Int32Array(4 * 256);
  for (let octet = 0; octet < 256; octet += 1) {
    const once = sBox[octet] as number;
    const double = (once << 1) ^ (once & 0x80 ? 0x11b : 0);
    const column = (double << 24) | (once << 16) | (once << 8) | (double ^ once);
    table[octet] = column;
    table[0x100 | octet] = (column >>> 8) | (column << 24);
    table[0x200 | octet] = (column >>> 16) | (column << 16);
    table[0x300 | octet] = (column >>> 24) | (column << 8);
  }
  return table;
}

/** Times x in the field of FIPS 197 section 4.2. */
function twice(octet: number): number {
  return ((octet << 1) ^ (octet & 0x80 ? 0x1b : 0)) & 0xff;
}
