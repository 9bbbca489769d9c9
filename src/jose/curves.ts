/** An elliptic curve of RFC 7518 section 6.2.1.1, y² = x³ − 3x + b over the integers modulo p (FIPS 186-4, D.1.2). */
export interface Curve {
  readonly name: "P-256" | "P-384" | "P-521";
  /** OpenSSL's name for it. */
  readonly nodeName: "prime256v1" | "secp384r1" | "secp521r1";
  /** Octets of a coordinate: always written in full length (RFC 7518 section 6.2.1.2). */
  readonly coordinateBytes: number;
  readonly p: bigint;
  readonly b: bigint;
  /** The signature algorithm that goes with it (RFC 7518 section 3.4). */
  readonly signature: "ES256" | "ES384" | "ES512";
  readonly signatureHash: "sha256" | "sha384" | "sha512";
}

export const curves: readonly Curve[] = [
  {
    name: "P-256",
    nodeName: "prime256v1",
    coordinateBytes: 32,
    p: 2n ** 256n - 2n ** 224n + 2n ** 192n + 2n ** 96n - 1n,
    b: 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604bn,
    signature: "ES256",
    signatureHash: "sha256",
  },
  {
    name: "P-384",
    nodeName: "secp384r1",
    coordinateBytes: 48,
    p: 2n ** 384n - 2n ** 128n - 2n ** 96n + 2n ** 32n - 1n,
    b: 0xb3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aefn,
    signature: "ES384",
    signatureHash: "sha384",
  },
  {
    name: "P-521",
    nodeName: "secp521r1",
    coordinateBytes: 66,
    p: 2n ** 521n - 1n,
    b: 0x51953eb9618e1c9a1f929a21a0b68540eea2da725b99b315f3b8b489918ef109e156193951ec7e937b1652c0bd3bb1bf073573df883d2c34f1ef451fd46b503f00n,
    signature: "ES512",
    signatureHash: "sha512",
  },
];

export function curveNamed(name: string): Curve | undefined {
  for (const curve of curves) if (curve.name === name) return curve;
  return undefined;
}

/** Big-endian, for public values only: a BigInt cannot be wiped. */
export function toBigInt(bytes: Uint8Array): bigint {
  return bytes.length === 0 ? 0n : BigInt(`0x${bytes.toHex()}`);
}

/** Big-endian, left-padded with zeros. For public values only. */
export function fromBigInt(value: bigint, length: number): Uint8Array {
  return Uint8Array.fromHex(value.toString(16).padStart(length * 2, "0"));
}

/** The remainder that is never negative. */
export function modulo(value: bigint, modulus: bigint): bigint {
  const remainder = value % modulus;
  return remainder < 0n ? remainder + modulus : remainder;
}

/**
 * The inverse by Euclid's extended algorithm; undefined when there is none, as for 0 or when the modulus is not prime and
 * shares a factor. Takes at most about 1.5 steps per bit, so it always ends.
 */
export function inverseModulo(value: bigint, modulus: bigint): bigint | undefined {
  let remainder = modulus;
  let nextRemainder = modulo(value, modulus);
  let factor = 0n;
  let nextFactor = 1n;
  while (nextRemainder !== 0n) {
    const quotient = remainder / nextRemainder;
    const left = remainder - quotient * nextRemainder;
    remainder = nextRemainder;
    nextRemainder = left;
    const leftFactor = factor - quotient * nextFactor;
    factor = nextFactor;
    nextFactor = leftFactor;
  }
  return remainder === 1n ? modulo(factor, modulus) : undefined;
}

/** Both coordinates reduced, and the equation of the curve holds. The point at infinity has no coordinates and never passes. */
export function isOnCurve(curve: Curve, x: bigint, y: bigint): boolean {
  const { p, b } = curve;
  return x < p && y < p && modulo(y * y - (x * x * x - 3n * x + b), p) === 0n;
}
