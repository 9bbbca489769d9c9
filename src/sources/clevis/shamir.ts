import { toBigInt } from "../../jose/curves.ts";
import { malformed } from "../../jose/malformed.ts";
import { type FieldElement, PrimeField } from "../../jose/prime-field.ts";
import { SecretBytes } from "../../system/secret-bytes.ts";
import { SSS_NUMBER_BYTES } from "./token.ts";

interface Point {
  readonly x: FieldElement;
  readonly y: FieldElement;
}

/**
 * Shares of one secret, collected one by one. A share is x and f(x), big-endian, each as long as p; the secret is f(0) for a
 * polynomial f modulo p (clevis src/pins/sss/sss.c).
 */
export class CollectedShares implements Disposable {
  readonly #field: PrimeField;
  readonly #points: Point[] = [];

  /** @param prime big-endian */
  constructor(prime: Uint8Array) {
    this.#field = new PrimeField(toBigInt(prime), prime.length);
  }

  get count(): number {
    return this.#points.length;
  }

  /** The share stays the caller's. */
  add(share: SecretBytes): void {
    if (share.length !== 2 * SSS_NUMBER_BYTES) {
      throw malformed(`it holds ${share.length} bytes, and a share has ${2 * SSS_NUMBER_BYTES}`);
    }
    const x = this.#field.read(share.bytes.subarray(0, SSS_NUMBER_BYTES));
    const y = this.#field.read(share.bytes.subarray(SSS_NUMBER_BYTES));
    if (!x || !y) throw malformed("it holds a number that is not below p");
    for (const point of this.#points) {
      if (this.#field.isZero(this.#field.subtract(point.x, x))) {
        throw malformed("it holds the same point as another share");
      }
    }
    this.#points.push({ x, y });
  }

  /** f(0), by Lagrange: the sum over i of yᵢ times the product over j ≠ i of xⱼ/(xⱼ − xᵢ). */
  combine(): SecretBytes {
    const field = this.#field;
    let sum = field.element();
    for (const own of this.#points) {
      let term = own.y;
      for (const other of this.#points) {
        if (other === own) continue;
        const factor = field.quotient(other.x, field.subtract(other.x, own.x));
        if (!factor) throw malformed("the sss pin has a p that is not prime");
        term = field.multiply(term, factor);
      }
      sum = field.add(sum, term);
    }
    return field.write(sum);
  }

  [Symbol.dispose](): void {
    this.#field[Symbol.dispose]();
  }
}

export interface SplitSecret extends Disposable {
  readonly secret: SecretBytes;
  readonly shares: readonly SecretBytes[];
}

/** A random secret, and shares of which any `threshold` give it back. */
export function splitRandomSecret(prime: Uint8Array, threshold: number, count: number): SplitSecret {
  using field = new PrimeField(toBigInt(prime), prime.length);
  const coefficients = Array.from({ length: threshold }, () => field.random());
  const valueAt = (x: FieldElement): FieldElement =>
    coefficients.reduceRight((sum, coefficient) => field.add(field.multiply(sum, x), coefficient), field.element());
  const shares = Array.from({ length: count }, () => {
    const x = field.random(); // two equal ones have a probability of 2^-250
    using left = field.write(x);
    using right = field.write(valueAt(x));
    const share = SecretBytes.allocate(left.length + right.length);
    share.bytes.set(left.bytes);
    share.bytes.set(right.bytes, left.length);
    return share;
  });
  const secret = field.write(valueAt(field.element()));
  return {
    secret,
    shares,
    [Symbol.dispose]: () => {
      for (const part of [secret, ...shares]) part[Symbol.dispose]();
    },
  };
}
