import { SecretBytes } from "../system/secret-bytes.ts";

const WORDS = 4;
const BLOCK_BYTES = 16;

/** The polynomial of the field, x¹²⁸ = 1 + x + x² + x⁷, as a first word. */
const POLYNOMIAL = 0xe100_0000 | 0;
const OCTETS = 256;

/** What the eight bits that fall out at the end bring back at the front. */
const reduction = new Int32Array(OCTETS);
for (let bit = 0x80, value = POLYNOMIAL; bit > 0; bit >>= 1, value >>>= 1) reduction[bit] = value;
for (let octet = 3; octet < OCTETS; octet += 1) {
  const rest = octet & (octet - 1);
  if (rest !== 0) reduction[octet] = (reduction[octet & -octet] ?? 0) ^ (reduction[rest] ?? 0);
}

/**
 * GHASH (NIST SP 800-38D section 6.4) with a table of the multiples of H by an octet. It takes as long to make as the hash of
 * fourteen blocks, and a token has some dozens. The words are signed: see src/system/aes.ts.
 */
export class Ghash implements Disposable {
  readonly #table: SecretBytes;
  readonly #state: SecretBytes;
  /** By octet, four words each. The first bit of a block, and of an octet, is the coefficient of x⁰. */
  readonly #multiples: Int32Array;
  readonly #sum: Int32Array;

  /** @param h four big-endian words */
  constructor(h: Int32Array) {
    this.#table = SecretBytes.allocate(OCTETS * BLOCK_BYTES);
    this.#state = SecretBytes.allocate(BLOCK_BYTES);
    this.#multiples = wordsOf(this.#table);
    this.#sum = wordsOf(this.#state);
    this.#fillTable(h);
  }

  /** Takes octets in, filled up with zeros to whole blocks. None of them is secret. */
  update(bytes: Uint8Array): void {
    const whole = bytes.length - (bytes.length % BLOCK_BYTES);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    for (let start = 0; start < whole; start += BLOCK_BYTES) this.#takeBlock(view, start);
    if (whole === bytes.length) return;
    const last = new Uint8Array(BLOCK_BYTES);
    last.set(bytes.subarray(whole));
    this.#takeBlock(new DataView(last.buffer), 0);
  }

  /** Takes the last block in, the lengths in bits, and gives the hash as a view. */
  finish(authenticatedBytes: number, encryptedBytes: number): Int32Array {
    const lengths = new DataView(new ArrayBuffer(BLOCK_BYTES));
    lengths.setBigUint64(0, BigInt(authenticatedBytes) * 8n);
    lengths.setBigUint64(8, BigInt(encryptedBytes) * 8n);
    this.update(new Uint8Array(lengths.buffer));
    return this.#sum;
  }

  [Symbol.dispose](): void {
    this.#table[Symbol.dispose]();
    this.#state[Symbol.dispose]();
  }

  #takeBlock(view: DataView, start: number): void {
    for (let word = 0; word < WORDS; word += 1) {
      this.#sum[word] = (this.#sum[word] ?? 0) ^ view.getInt32(start + 4 * word);
    }
    this.#multiplySum();
  }

  /** H itself is its multiple by x⁰, the first bit. */
  #fillTable(h: Int32Array): void {
    const table = this.#multiples;
    table.set(h, 0x80 * WORDS);
    for (let octet = 0x40; octet > 0; octet >>= 1) {
      const from = 2 * octet * WORDS;
      const carry = (table[from + 3] ?? 0) & 1 ? POLYNOMIAL : 0;
      for (let word = 0; word < WORDS; word += 1) {
        const above = word === 0 ? 0 : (table[from + word - 1] ?? 0) << 31;
        table[octet * WORDS + word] = ((table[from + word] ?? 0) >>> 1) ^ above ^ (word === 0 ? carry : 0);
      }
    }
    for (let octet = 3; octet < OCTETS; octet += 1) {
      const rest = (octet & (octet - 1)) * WORDS;
      if (rest === 0) continue;
      const one = (octet & -octet) * WORDS;
      const both = octet * WORDS;
      table[both] = (table[one] as number) ^ (table[rest] as number);
      table[both + 1] = (table[one + 1] as number) ^ (table[rest + 1] as number);
      table[both + 2] = (table[one + 2] as number) ^ (table[rest + 2] as number);
      table[both + 3] = (table[one + 3] as number) ^ (table[rest + 3] as number);
    }
  }

  /** The sum times H, from its last octet to its first: what is there times x⁸, plus a multiple of H. */
  #multiplySum(): void {
    const sum = this.#sum;
    const table = this.#multiples;
    let a = 0;
    let b = 0;
    let c = 0;
    let d = 0;
    for (let word = WORDS - 1; word >= 0; word -= 1) {
      const octets = sum[word] as number;
      for (let shift = 0; shift < 32; shift += 8) {
        const entry = ((octets >> shift) & 0xff) * WORDS;
        const fallen = reduction[d & 0xff] as number;
        d = ((d >>> 8) | (c << 24)) ^ (table[entry + 3] as number);
        c = ((c >>> 8) | (b << 24)) ^ (table[entry + 2] as number);
        b = ((b >>> 8) | (a << 24)) ^ (table[entry + 1] as number);
        a = (a >>> 8) ^ fallen ^ (table[entry] as number);
      }
    }
    sum[0] = a;
    sum[1] = b;
    sum[2] = c;
    sum[3] = d;
  }
}

function wordsOf({ bytes }: SecretBytes): Int32Array {
  return new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length / Int32Array.BYTES_PER_ELEMENT);
}
