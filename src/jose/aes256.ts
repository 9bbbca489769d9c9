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
    let a = (block[0] ?? 0) ^ (key[0] ?? 0);
    let b = (block[1] ?? 0) ^ (key[1] ?? 0);
    let c = (block[2] ?? 0) ^ (key[2] ?? 0);
    let d = (block[3] ?? 0) ^ (key[3] ?? 0);
    for (let round = 1; round < ROUNDS; round += 1) {
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
    const last = 4 * ROUNDS;
    block[0] = substituted(a, b, c, d) ^ (key[last] ?? 0);
    block[1] = substituted(b, c, d, a) ^ (key[last + 1] ?? 0);
    block[2] = substituted(c, d, a, b) ^ (key[last + 2] ?? 0);
    block[3] = substituted(d, a, b, c) ^ (key[last + 3] ?? 0);
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
      let previous = schedule[word - 1] ?? 0;
      if (word % KEY_WORDS === 0) {
        const rotated = (previous << 8) | (previous >>> 24);
        previous = substituted(rotated, rotated, rotated, rotated) ^ (constant << 24);
        constant <<= 1;
      } else if (word % KEY_WORDS === 4) {
        previous = substituted(previous, previous, previous, previous);
      }
      schedule[word] = (schedule[word - KEY_WORDS] ?? 0) ^ previous;
    }
  }
}

/** SubBytes, ShiftRows and MixColumns for one column, whose octets come from four. */
function mixed(first: number, second: number, third: number, fourth: number): number {
  return (
    (columns[first >>> 24] ?? 0) ^
    rotated(columns[(second >>> 16) & 0xff] ?? 0, 8) ^
    rotated(columns[(third >>> 8) & 0xff] ?? 0, 16) ^
    rotated(columns[fourth & 0xff] ?? 0, 24)
  );
}

/** The last round has no MixColumns. */
function substituted(first: number, second: number, third: number, fourth: number): number {
  return (
    ((sBox[first >>> 24] ?? 0) << 24) |
    ((sBox[(second >>> 16) & 0xff] ?? 0) << 16) |
    ((sBox[(third >>> 8) & 0xff] ?? 0) << 8) |
    (sBox[fourth & 0xff] ?? 0)
  );
}

function rotated(word: number, bits: number): number {
  return (word >>> bits) | (word << (32 - bits));
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
