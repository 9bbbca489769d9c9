import { SecretBytes } from "../system/secret-bytes.ts";
import { inverseModulo } from "./curves.ts";

/**
 * Three octets to a limb: two limbs' product and two carries stay below 2^53, so JavaScript's numbers are exact, and numbers
 * live in registers and on the stack, never in the heap as BigInts do.
 */
const LIMB_BYTES = 3;
const BASE = 2 ** 24;
const PER_BASE = 2 ** -24;
/** Room for some dozens of numbers; secrets come in whole pages anyway. */
const PAGE_BYTES = 4096;

/** A number below p, its limbs little-endian. Wiped with its field. */
export interface FieldElement {
  readonly limbs: Uint32Array;
}

/**
 * Arithmetic with secret numbers modulo an odd p of at least 3: what Shamir's shares and Tang's exchange need. BigInt would
 * be shorter, but each intermediate BigInt is a copy of the secret that nobody can wipe.
 */
export class PrimeField implements Disposable {
  readonly #p: bigint;
  readonly #byteLength: number;
  readonly #modulus: Uint32Array;
  /** −1/p modulo the base. */
  readonly #negativeInverse: number;
  /** 2 to the power of all bits of the limbs: what a Montgomery product divides by. */
  readonly #r: bigint;
  readonly #rSquared: FieldElement;
  readonly #accumulator: Uint32Array;
  /** Where the elements live; the last one has room for some more. */
  readonly #pages: SecretBytes[] = [];
  #used = PAGE_BYTES;

  /** @param byteLength octets of p, and of each number outside */
  constructor(p: bigint, byteLength: number) {
    const count = Math.ceil(byteLength / LIMB_BYTES);
    this.#p = p;
    this.#byteLength = byteLength;
    this.#modulus = publicLimbs(p, count);
    this.#negativeInverse = Number(BigInt(BASE) - (inverseModulo(p, BigInt(BASE)) ?? 1n));
    this.#r = 2n ** BigInt(24 * count);
    this.#rSquared = { limbs: publicLimbs((this.#r * this.#r) % p, count) };
    this.#accumulator = this.#take(count + 2);
  }

  /** Zero. */
  element(): FieldElement {
    return { limbs: this.#take(this.#modulus.length) };
  }

  isZero(element: FieldElement): boolean {
    return element.limbs.every((limb) => limb === 0);
  }

  /** A number from its big-endian octets, as many as p has; undefined when it is not below p. */
  read(bytes: Uint8Array): FieldElement | undefined {
    if (bytes.length !== this.#byteLength) return undefined;
    const element = this.element();
    const { limbs } = element;
    for (let place = 0; place < bytes.length; place += 1) {
      const limb = Math.floor(place / LIMB_BYTES);
      const octet = bytes[bytes.length - 1 - place] ?? 0;
      limbs[limb] = (limbs[limb] ?? 0) | (octet << (8 * (place % LIMB_BYTES)));
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
    const element = this.element();
    const { limbs } = element;
    const bits = this.#p.toString(2).length;
    for (;;) {
      crypto.getRandomValues(limbs);
      for (const [index, limb] of limbs.entries()) {
        const left = Math.max(0, Math.min(24, bits - 24 * index));
        limbs[index] = limb & (2 ** left - 1);
      }
      if (this.#isBelowModulus(limbs) && !this.isZero(element)) return element;
    }
  }

  add(a: FieldElement, b: FieldElement): FieldElement {
    const sum = this.#accumulator;
    let carry = 0;
    for (let index = 0; index < this.#modulus.length; index += 1) {
      const value = (a.limbs[index] ?? 0) + (b.limbs[index] ?? 0) + carry;
      sum[index] = value % BASE;
      carry = value >= BASE ? 1 : 0;
    }
    sum[this.#modulus.length] = carry;
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
   * Montgomery's product a·b/R modulo p, one limb of `b` at a time (coarsely integrated operand scanning, Koç, Acar and
   * Kaliski 1996).
   */
  #product(a: FieldElement, b: FieldElement): FieldElement {
    const count = this.#modulus.length;
    const sum = this.#accumulator.fill(0);
    for (let step = 0; step < count; step += 1) {
      const factor = b.limbs[step] ?? 0;
      let carry = 0;
      for (let index = 0; index < count; index += 1) {
        const value = (sum[index] ?? 0) + (a.limbs[index] ?? 0) * factor + carry;
        carry = Math.floor(value * PER_BASE);
        sum[index] = value - carry * BASE;
      }
      const top = (sum[count] ?? 0) + carry;
      sum[count] = top % BASE;
      sum[count + 1] = top >= BASE ? 1 : 0;

      // Adds the multiple of p that makes the lowest limb zero, and drops that limb.
      const low = (sum[0] ?? 0) * this.#negativeInverse;
      const multiple = low - Math.floor(low * PER_BASE) * BASE;
      carry = Math.floor(((sum[0] ?? 0) + multiple * (this.#modulus[0] ?? 0)) * PER_BASE);
      for (let index = 1; index < count; index += 1) {
        const value = (sum[index] ?? 0) + multiple * (this.#modulus[index] ?? 0) + carry;
        carry = Math.floor(value * PER_BASE);
        sum[index - 1] = value - carry * BASE;
      }
      const last = (sum[count] ?? 0) + carry;
      sum[count - 1] = last % BASE;
      sum[count] = (sum[count + 1] ?? 0) + (last >= BASE ? 1 : 0);
    }
    return this.#reduced();
  }

  /** The accumulator, which is below 2p, less p where that is needed. */
  #reduced(): FieldElement {
    const element = this.element();
    const count = this.#modulus.length;
    const sum = this.#accumulator;
    if ((sum[count] ?? 0) > 0 || !this.#isBelowModulus(sum)) subtractLimbs(sum, this.#modulus, element.limbs);
    else element.limbs.set(sum.subarray(0, count));
    return element;
  }

  #isBelowModulus(limbs: Uint32Array): boolean {
    for (let index = this.#modulus.length - 1; index >= 0; index -= 1) {
      const [limb, bound] = [limbs[index] ?? 0, this.#modulus[index] ?? 0];
      if (limb !== bound) return limb < bound;
    }
    return false;
  }

  #take(count: number): Uint32Array {
    const size = count * Uint32Array.BYTES_PER_ELEMENT;
    if (this.#used + size > PAGE_BYTES) {
      this.#pages.push(SecretBytes.allocate(PAGE_BYTES));
      this.#used = 0;
    }
    const pages = this.#pages.at(-1)?.bytes ?? new Uint8Array();
    const limbs = new Uint32Array(pages.buffer, pages.byteOffset + this.#used, count);
    this.#used += size;
    return limbs;
  }
}

/** a − b modulo R, in as many limbs as `out` has. */
function subtractLimbs(a: Uint32Array, b: Uint32Array, out: Uint32Array): void {
  let borrow = 0;
  for (let index = 0; index < out.length; index += 1) {
    const value = (a[index] ?? 0) - (b[index] ?? 0) - borrow;
    borrow = value < 0 ? 1 : 0;
    out[index] = value + borrow * BASE;
  }
}

/** For values that are no secret. */
function bigIntOf(limbs: Uint32Array): bigint {
  return limbs.reduceRight((sum, limb) => (sum << 24n) | BigInt(limb), 0n);
}

/** For values that are no secret. */
function publicLimbs(value: bigint, count: number): Uint32Array {
  return Uint32Array.from({ length: count }, (_, index) => Number((value >> BigInt(24 * index)) & BigInt(BASE - 1)));
}
