import { SecretBytes } from "../system/secret-bytes.ts";

const ROUNDS = 14;
const KEY_WORDS = 8;
const SCHEDULE_WORDS = 4 * (ROUNDS + 1);

/** The S-box (FIPS 197 section 5.1.1), and for each octet the column that SubBytes and MixColumns make of it together. */
const { sBox, columns } = tables();

/**
 * AES-256, forwards, which is all that GCM asks for (FIPS 197). Bun's own cipher leaves 24 of a key's 32 octets behind in
 * memory it has freed, where neither we nor its collector wipe them; here key and schedule are in pages that are wiped.
 * Tables are looked up by secret octets, so other processes of the machine could measure it in its caches: every key is used
 * for one token, once, at boot, which gives them nothing to average over.
 */
export class Aes256 implements Disposable {
  readonly #pages: SecretBytes;
  readonly #schedule: Uint32Array;

  /** @param key 32 octets; stay the caller's */
  constructor(key: Uint8Array) {
    this.#pages = SecretBytes.allocate(SCHEDULE_WORDS * Uint32Array.BYTES_PER_ELEMENT);
    const { buffer, byteOffset } = this.#pages.bytes;
    this.#schedule = new Uint32Array(buffer, byteOffset, SCHEDULE_WORDS);
    this.#expand(key);
  }

  /** Encrypts four big-endian words in place. */
  encrypt(block: Uint32Array): void {
    const key = this.#schedule;
    let a = at(block, 0) ^ at(key, 0);
    let b = at(block, 1) ^ at(key, 1);
    let c = at(block, 2) ^ at(key, 2);
    let d = at(block, 3) ^ at(key, 3);
    for (let round = 1; round < ROUNDS; round += 1) {
      const next = 4 * round;
      // ShiftRows: each column takes its octets from four columns.
      const nextA = mixed(a, b, c, d) ^ at(key, next);
      const nextB = mixed(b, c, d, a) ^ at(key, next + 1);
      const nextC = mixed(c, d, a, b) ^ at(key, next + 2);
      d = mixed(d, a, b, c) ^ at(key, next + 3);
      a = nextA;
      b = nextB;
      c = nextC;
    }
    const last = 4 * ROUNDS;
    block[0] = substituted(a, b, c, d) ^ at(key, last);
    block[1] = substituted(b, c, d, a) ^ at(key, last + 1);
    block[2] = substituted(c, d, a, b) ^ at(key, last + 2);
    block[3] = substituted(d, a, b, c) ^ at(key, last + 3);
  }

  [Symbol.dispose](): void {
    this.#pages[Symbol.dispose]();
  }

  /** FIPS 197 section 5.2. */
  #expand(key: Uint8Array): void {
    const schedule = this.#schedule;
    const view = new DataView(key.buffer, key.byteOffset, key.length);
    for (let word = 0; word < KEY_WORDS; word += 1) schedule[word] = view.getUint32(4 * word);
    let constant = 1;
    for (let word = KEY_WORDS; word < SCHEDULE_WORDS; word += 1) {
      let previous = at(schedule, word - 1);
      if (word % KEY_WORDS === 0) {
        const rotated = (previous << 8) | (previous >>> 24);
        previous = substituted(rotated, rotated, rotated, rotated) ^ (constant << 24);
        constant <<= 1;
      } else if (word % KEY_WORDS === 4) {
        previous = substituted(previous, previous, previous, previous);
      }
      schedule[word] = at(schedule, word - KEY_WORDS) ^ previous;
    }
  }
}

/** SubBytes, ShiftRows and MixColumns for one column, whose octets come from four. */
function mixed(first: number, second: number, third: number, fourth: number): number {
  return (
    at(columns, first >>> 24) ^
    rotated(at(columns, (second >>> 16) & 0xff), 8) ^
    rotated(at(columns, (third >>> 8) & 0xff), 16) ^
    rotated(at(columns, fourth & 0xff), 24)
  );
}

/** The last round has no MixColumns. */
function substituted(first: number, second: number, third: number, fourth: number): number {
  return (
    (at(sBox, first >>> 24) << 24) |
    (at(sBox, (second >>> 16) & 0xff) << 16) |
    (at(sBox, (third >>> 8) & 0xff) << 8) |
    at(sBox, fourth & 0xff)
  );
}

function rotated(word: number, bits: number): number {
  return (word >>> bits) | (word << (32 - bits));
}

function at(words: Uint32Array | Uint8Array, index: number): number {
  return words[index] ?? 0;
}

/** Walks through all octets but zero as powers of 3, and backwards beside it through their inverses. */
function tables(): { readonly sBox: Uint8Array; readonly columns: Uint32Array } {
  const sBox = new Uint8Array(256).fill(0x63, 0, 1);
  const columns = new Uint32Array(256);
  const double = (octet: number): number => ((octet << 1) ^ (octet & 0x80 ? 0x11b : 0)) & 0xff;
  let power = 1;
  let inverse = 1;
  do {
    power ^= double(power);
    inverse ^= inverse << 1;
    inverse ^= inverse << 2;
    inverse ^= inverse << 4;
    inverse = (inverse ^ (inverse & 0x80 ? 0x09 : 0)) & 0xff; // a third of it: times 0xf6
    const spread = inverse * 0x101;
    sBox[power] = 0x63 ^ inverse ^ (spread >> 7) ^ (spread >> 6) ^ (spread >> 5) ^ (spread >> 4);
  } while (power !== 1);
  for (const [octet, substitute] of sBox.entries()) {
    const twice = double(substitute);
    columns[octet] = (twice << 24) | (substitute << 16) | (substitute << 8) | (twice ^ substitute);
  }
  return { sBox, columns };
}
