import { SecretBytes } from "../system/secret-bytes.ts";

const ROUNDS = 14;
const KEY_WORDS = 8;
const SCHEDULE_WORDS = 4 * (ROUNDS + 1);

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

/**
 * AES-256, forwards, which is all that GCM asks for (FIPS 197). Bun's own cipher leaves 24 of a key's 32 octets behind in
 * memory it has freed, where neither we nor its collector wipe them; here key and schedule are in pages that are wiped.
 * The S-box is looked up by secret octets, which other processes of the machine could measure in its caches; but every key is
 * used for one token, once, which gives them nothing to average over.
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
      const nextA = mixed(substituted(a, b, c, d)) ^ (key[next] ?? 0);
      const nextB = mixed(substituted(b, c, d, a)) ^ (key[next + 1] ?? 0);
      const nextC = mixed(substituted(c, d, a, b)) ^ (key[next + 2] ?? 0);
      d = mixed(substituted(d, a, b, c)) ^ (key[next + 3] ?? 0);
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
        const rotated = rotatedLeft(previous, 8);
        previous = substituted(rotated, rotated, rotated, rotated) ^ (constant << 24);
        constant <<= 1;
      } else if (word % KEY_WORDS === 4) {
        previous = substituted(previous, previous, previous, previous);
      }
      schedule[word] = (schedule[word - KEY_WORDS] ?? 0) ^ previous;
    }
  }
}

/** SubBytes and ShiftRows for one column, whose octets come from four. */
function substituted(first: number, second: number, third: number, fourth: number): number {
  return (
    ((sBox[first >>> 24] ?? 0) << 24) |
    ((sBox[(second >>> 16) & 0xff] ?? 0) << 16) |
    ((sBox[(third >>> 8) & 0xff] ?? 0) << 8) |
    (sBox[fourth & 0xff] ?? 0)
  );
}

/** MixColumns: each octet becomes twice itself, three times the next one, and the other two. */
function mixed(column: number): number {
  const next = rotatedLeft(column, 8);
  return doubled(column ^ next) ^ next ^ rotatedLeft(column, 16) ^ rotatedLeft(column, 24);
}

/** All four octets times x modulo x⁸ + x⁴ + x³ + x + 1. */
function doubled(octets: number): number {
  return ((octets & 0x7f7f_7f7f) << 1) ^ (((octets >>> 7) & 0x0101_0101) * 0x1b);
}

function rotatedLeft(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}
