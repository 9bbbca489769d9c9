import { SecretBytes } from "../system/secret-bytes.ts";

const WORDS = 4;
const BLOCK_BYTES = 16;

/** What the four bits that fall out at the end bring back at the front: x¹²⁸ is 1 + x + x² + x⁷. */
const reduction = Int32Array.from({ length: 16 }, (_, nibble) =>
  [0, 1, 2, 3].reduce((sum, bit) => (nibble & (8 >> bit) ? sum ^ (0xe100_0000 >>> bit) : sum), 0),
);

/**
 * GHASH (NIST SP 800-38D section 6.4) with a table of the sixteen multiples of H by four bits: quick to set up, which is what
 * counts for tokens of a few KiB.
 */
export class Ghash implements Disposable {
  readonly #pages: SecretBytes;
  /** By nibble, four words each. The first bit of a block, and of a nibble, is the coefficient of x⁰. */
  readonly #multiples: Int32Array;
  readonly #sum: Int32Array;

  /** @param h four big-endian words */
  constructor(h: Int32Array) {
    this.#pages = SecretBytes.allocate(17 * WORDS * Int32Array.BYTES_PER_ELEMENT);
    const { buffer, byteOffset } = this.#pages.bytes;
    this.#multiples = new Int32Array(buffer, byteOffset, 16 * WORDS);
    this.#sum = new Int32Array(buffer, byteOffset + this.#multiples.byteLength, WORDS);
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
    this.#pages[Symbol.dispose]();
  }

  #takeBlock(view: DataView, start: number): void {
    for (let word = 0; word < WORDS; word += 1) {
      this.#sum[word] = (this.#sum[word] ?? 0) ^ view.getInt32(start + 4 * word);
    }
    this.#multiplySum();
  }

  #fillTable(h: Int32Array): void {
    const table = this.#multiples;
    table.set(h, 8 * WORDS);
    for (let nibble = 4; nibble > 0; nibble >>= 1) {
      const from = 2 * nibble * WORDS;
      const carry = (table[from + 3] ?? 0) & 1 ? 0xe100_0000 : 0;
      for (let word = 0; word < WORDS; word += 1) {
        const above = word === 0 ? 0 : (table[from + word - 1] ?? 0) << 31;
        table[nibble * WORDS + word] = ((table[from + word] ?? 0) >>> 1) ^ above ^ (word === 0 ? carry : 0);
      }
    }
    for (let nibble = 3; nibble < 16; nibble += 1) {
      const lowest = nibble & -nibble;
      if (lowest === nibble) continue;
      for (let word = 0; word < WORDS; word += 1) {
        const rest = table[(nibble ^ lowest) * WORDS + word] ?? 0;
        table[nibble * WORDS + word] = rest ^ (table[lowest * WORDS + word] ?? 0);
      }
    }
  }

  /** The sum times H, from its last four bits to its first: what is there times x⁴, plus a multiple of H. */
  #multiplySum(): void {
    const sum = this.#sum;
    const table = this.#multiples;
    let [a, b, c, d] = [0, 0, 0, 0];
    for (let place = 31; place >= 0; place -= 1) {
      const nibble = ((sum[place >> 3] ?? 0) >>> (28 - 4 * (place & 7))) & 0xf;
      const entry = nibble * WORDS;
      const fallen = reduction[d & 0xf] ?? 0;
      d = ((d >>> 4) | (c << 28)) ^ (table[entry + 3] ?? 0);
      c = ((c >>> 4) | (b << 28)) ^ (table[entry + 2] ?? 0);
      b = ((b >>> 4) | (a << 28)) ^ (table[entry + 1] ?? 0);
      a = (a >>> 4) ^ fallen ^ (table[entry] ?? 0);
    }
    sum[0] = a;
    sum[1] = b;
    sum[2] = c;
    sum[3] = d;
  }
}
