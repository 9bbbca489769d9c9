import { LatchkeyError } from "../system/errors.ts";
import { SecretBytes } from "../system/secret-bytes.ts";
import { inverseModulo } from "./curves.ts";

/**
 * Three octets to a limb: JavaScript's numbers are exact up to 2^53, so a limb's product with another is, and so is the sum of
 * MAX_LIMBS of them. Numbers live in registers, on the stack and in wiped pages, never in the heap as BigInts do. The pages hold
 * them as floating-point numbers, since an integer product of 48 bits is what the interpreter is slow at.
 */
const LIMB_BYTES = 3;
const BASE = 2 ** 24;
const PER_BASE = 2 ** -24;
const MAX_LIMBS = 31;
/** Room for some dozens of numbers; secrets come in whole pages anyway. */
const PAGE_BYTES = 4096;

/** A number below p, its limbs little-endian. Wiped with its field. */
export interface FieldElement {
  readonly limbs: Float64Array;
}

/**
 * Arithmetic with secret numbers modulo an odd p of at least 3: what Shamir's shares and Tang's exchange need. BigInt would
 * be shorter, but each intermediate BigInt is a copy of the secret that nobody can wipe.
 */
export class PrimeField implements Disposable {
  readonly #p: bigint;
  readonly #byteLength: number;
  readonly #modulus: Float64Array;
  /** −1/p modulo the base. */
  readonly #negativeInverse: number;
  /** 2 to the power of all bits of the limbs: what a Montgomery product divides by. */
  readonly #r: bigint;
  readonly #rSquared: FieldElement;
  /** Room for a sum before it is reduced, one limb longer than a number. */
  readonly #sum: Float64Array;
  /** The multiples of p that a product is made divisible with. */
  readonly #multiples: Float64Array;
  /** Where the elements live; the last one has room for some more. */
  readonly #pages: SecretBytes[] = [];
  #used = PAGE_BYTES;

  /** @param byteLength octets of p, and of each number outside */
  constructor(p: bigint, byteLength: number) {
    const count = Math.ceil(byteLength / LIMB_BYTES);
    if (count > MAX_LIMBS) throw new LatchkeyError("internal/defect", `a field of ${byteLength} bytes is too wide`);
    this.#p = p;
    this.#byteLength = byteLength;
    this.#modulus = publicLimbs(p, count);
    this.#negativeInverse = Number(BigInt(BASE) - (inverseModulo(p, BigInt(BASE)) ?? 1n));
    this.#r = 2n ** BigInt(24 * count);
    this.#rSquared = { limbs: publicLimbs((this.#r * this.#r) % p, count) };
    this.#sum = this.#take(count + 1);
    this.#multiples = this.#take(count);
  }

  /** Zero. */
  element(): FieldElement {
    return { limbs: this.#take(this.#modulus.length) };
  }

  isZero(element: FieldElement): boolean {
    for (let index = 0; index < element.limbs.length; index += 1) if (element.limbs[index] !== 0) return false;
    return true;
  }

  /** A number from its big-endian octets, as many as p has; undefined when it is not below p. */
  read(bytes: Uint8Array): FieldElement | undefined {
    if (bytes.length !== this.#byteLength) return undefined;
    const element = this.element();
    const { limbs } = element;
    for (let limb = 0, end = bytes.length; end > 0; limb += 1, end -= LIMB_BYTES) {
      // Beyond the first octet there is none, which counts as zero.
      limbs[limb] = ((bytes[end - 3] ?? 0) << 16) | ((bytes[end - 2] ?? 0) << 8) | (bytes[end - 1] ?? 0);
    }
    return this.#isBelowModulus(limbs) ? element : undefined;
  }

  /** The big-endian octets, left-padded with zeros. */
  write({ limbs }: FieldElement): SecretBytes {
    const secret = SecretBytes.allocate(this.#byteLength);
    const { bytes } = secret;
    for (let place = 0; place < bytes.length; place += 1) {
      const limb = limbs[Math.floor(place / LIMB_BYTES)] ?? 0;
      bytes[bytes.length - 1 - place] = limb >>> (8 * (place % LIMB_BYTES));
    }
    return secret;
  }

  /** An evenly distributed number that is not zero: as many random bits as p has, until they are below p. */
  random(): FieldElement {
    const bits = this.#p.toString(2).length;
    using octets = SecretBytes.allocate(this.#byteLength);
    const { bytes } = octets;
    const start = bytes.length - Math.ceil(bits / 8);
    for (;;) {
      crypto.getRandomValues(bytes.subarray(start));
      bytes[start] = (bytes[start] ?? 0) & (0xff >>> ((8 - (bits % 8)) % 8));
      const element = this.read(bytes);
      if (element && !this.isZero(element)) return element;
    }
  }

  add(a: FieldElement, b: FieldElement): FieldElement {
    const sum = this.#sum;
    const count = this.#modulus.length;
    let carry = 0;
    for (let index = 0; index < count; index += 1) {
      const value = at(a.limbs, index) + at(b.limbs, index) + carry;
      carry = value >= BASE ? 1 : 0;
      sum[index] = value - carry * BASE;
    }
    sum[count] = carry;
    return this.#reduced();
  }

  subtract(a: FieldElement, b: FieldElement): FieldElement {
    const negative = this.element();
    subtractLimbs(this.#modulus, b.limbs, negative.limbs); // p when b is zero: the sum is reduced in any case
    return this.add(a, negative);
  }

  multiply(a: FieldElement, b: FieldElement): FieldElement {
    return this.#product(this.#product(a, b), this.#rSquared);
  }

  /**
   * a/b; undefined when b has no inverse. b is first multiplied by a random number: what the BigInt algorithm then sees, and
   * leaves in the heap, is evenly distributed and says nothing.
   */
  quotient(a: FieldElement, b: FieldElement): FieldElement | undefined {
    const blind = this.random();
    const inverse = inverseModulo(bigIntOf(this.#product(b, blind).limbs), this.#p);
    if (inverse === undefined) return undefined;
    // (a·blind/R) · (inverse·R)/R, and the inverse is R/(b·blind).
    const scaled = { limbs: publicLimbs((inverse * this.#r) % this.#p, this.#modulus.length) };
    return this.#product(this.#product(a, blind), scaled);
  }

  [Symbol.dispose](): void {
    for (const pages of this.#pages) pages[Symbol.dispose]();
  }

  /**
   * Montgomery's product a·b/R modulo p, one limb of the result after the other (finely integrated product scanning, Koç, Acar
   * and Kaliski 1996): what is summed up stays in registers.
   */
  #product(a: FieldElement, b: FieldElement): FieldElement {
    const sum = this.#sum;
    const modulus = this.#modulus;
    const multiples = this.#multiples.fill(0);
    const count = modulus.length;
    const left = a.limbs;
    const right = b.limbs;
    let carry = 0;
    for (let place = 0; place < 2 * count; place += 1) {
      let products = 0;
      let reductions = 0;
      const last = Math.min(place, count - 1);
      for (let index = Math.max(0, place - count + 1); index <= last; index += 1) {
        // What `at` does, without the call: half of all time goes by here. The last multiple of the lower half is still zero.
        products += (left[index] as number) * (right[place - index] as number);
        reductions += (multiples[index] as number) * (modulus[place - index] as number);
      }
      // Each of both may have 53 bits: their sum is taken by halves.
      const highProducts = Math.floor(products * PER_BASE);
      const highReductions = Math.floor(reductions * PER_BASE);
      let low = products - highProducts * BASE + (reductions - highReductions * BASE) + carry;
      carry = highProducts + highReductions;
      if (place < count) {
        // The multiple of p that makes this limb zero.
        const multiple = remainder(remainder(low) * this.#negativeInverse);
        multiples[place] = multiple;
        low += multiple * at(modulus, 0);
      } else {
        sum[place - count] = remainder(low);
      }
      carry += Math.floor(low * PER_BASE);
    }
    sum[count] = carry;
    return this.#reduced();
  }

  /** The sum, which is below 2p, less p where that is needed. */
  #reduced(): FieldElement {
    const element = this.element();
    const count = this.#modulus.length;
    const sum = this.#sum;
    if (at(sum, count) > 0 || !this.#isBelowModulus(sum)) subtractLimbs(sum, this.#modulus, element.limbs);
    else element.limbs.set(sum.subarray(0, count));
    return element;
  }

  #isBelowModulus(limbs: Float64Array): boolean {
    for (let index = this.#modulus.length - 1; index >= 0; index -= 1) {
      const limb = at(limbs, index);
      const bound = at(this.#modulus, index);
      if (limb !== bound) return limb < bound;
    }
    return false;
  }

  #take(count: number): Float64Array {
    const size = count * Float64Array.BYTES_PER_ELEMENT;
    if (this.#used + size > PAGE_BYTES) {
      this.#pages.push(SecretBytes.allocate(PAGE_BYTES));
      this.#used = 0;
    }
    const pages = this.#pages.at(-1)?.bytes ?? new Uint8Array();
    const limbs = new Float64Array(pages.buffer, pages.byteOffset + this.#used, count);
    this.#used += size;
    return limbs;
  }
}

/** For an index that is known to be inside: the innermost loops do not ask again. */
function at(limbs: Float64Array, index: number): number {
  return limbs[index] as number;
}

/** Modulo the base, of what is not negative. */
function remainder(value: number): number {
  return value - Math.floor(value * PER_BASE) * BASE;
}

/** a − b modulo R, in as many limbs as `out` has. */
function subtractLimbs(a: Float64Array, b: Float64Array, out: Float64Array): void {
  let borrow = 0;
  for (let index = 0; index < out.length; index += 1) {
    const value = at(a, index) - at(b, index) - borrow;
    borrow = value < 0 ? 1 : 0;
    out[index] = value + borrow * BASE;
  }
}

/** For values that are no secret. */
function bigIntOf(limbs: Float64Array): bigint {
  let value = 0n;
  for (let index = limbs.length - 1; index >= 0; index -= 1) value = (value << 24n) | BigInt(at(limbs, index));
  return value;
}

/** For values that are no secret. */
function publicLimbs(value: bigint, count: number): Float64Array {
  const limbs = new Float64Array(count);
  for (let index = 0, left = value; index < count; index += 1, left >>= 24n) limbs[index] = Number(left & 0xff_ffffn);
  return limbs;
}
