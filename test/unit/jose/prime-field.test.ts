import { describe, expect, test } from "bun:test";
import { generatePrimeSync } from "node:crypto";
import fc from "fast-check";
import { curves, fromBigInt, inverseModulo, modulo, toBigInt } from "../../../src/jose/curves.ts";
import { PrimeField } from "../../../src/jose/prime-field.ts";

const primes: readonly (readonly [name: string, p: bigint, length: number])[] = [
  ...curves.map((curve) => [curve.name, curve.p, curve.coordinateBytes] as const),
  ["a random 256-bit prime", toBigInt(new Uint8Array(generatePrimeSync(256))), 32],
  ["2^256 - 189, all limbs full", 2n ** 256n - 189n, 32],
  ["a small prime in a wide field", 65_537n, 32],
  ["3", 3n, 32],
  ["2^24 - 3, one limb", 2n ** 24n - 3n, 3],
];

describe.each(primes)("arithmetic modulo %s", (_name, p, length) => {
  const edges = [0n, 1n, 2n, p - 1n, p - 2n, p >> 1n].filter((value) => value >= 0n && value < p);
  const number = fc.oneof(fc.constantFrom(...edges), fc.bigInt({ min: 0n, max: p - 1n }));

  const compute = (work: (field: PrimeField) => ReturnType<PrimeField["element"]> | undefined): bigint | undefined => {
    using field = new PrimeField(p, length);
    const result = work(field);
    if (!result) return undefined;
    using octets = field.write(result);
    expect(octets.length).toBe(length);
    return toBigInt(octets.bytes);
  };
  const load = (field: PrimeField, value: bigint) => {
    const element = field.read(fromBigInt(value, length));
    if (!element) throw new Error("not below p");
    return element;
  };

  test("agrees with BigInt", () => {
    fc.assert(
      fc.property(number, number, (a, b) => {
        expect(compute((field) => load(field, a))).toBe(a);
        expect(compute((field) => field.add(load(field, a), load(field, b)))).toBe(modulo(a + b, p));
        expect(compute((field) => field.subtract(load(field, a), load(field, b)))).toBe(modulo(a - b, p));
        expect(compute((field) => field.multiply(load(field, a), load(field, b)))).toBe(modulo(a * b, p));
        const inverse = inverseModulo(b, p);
        const quotient = inverse === undefined ? undefined : modulo(a * inverse, p);
        expect(compute((field) => field.quotient(load(field, a), load(field, b)))).toBe(quotient);
      }),
      { numRuns: 60 },
    );
  });

  test("takes numbers below p only, in full length", () => {
    using field = new PrimeField(p, length);
    expect(field.read(fromBigInt(p - 1n, length))).toBeDefined();
    expect(field.read(fromBigInt(p, length))).toBeUndefined();
    expect(field.read(new Uint8Array(length).fill(255))).toBeUndefined();
    expect(field.read(new Uint8Array(length + 1))).toBeUndefined();
    expect(field.read(new Uint8Array(length - 1))).toBeUndefined();
  });

  test("draws numbers from 1 to p - 1", () => {
    for (let round = 0; round < 20; round += 1) {
      const value = compute((field) => field.random()) ?? 0n;
      expect(value > 0n && value < p).toBe(true);
    }
  });
});

test("what a field worked with is wiped with it", () => {
  const field = new PrimeField(2n ** 256n - 189n, 32);
  const element = field.random();
  const product = field.multiply(element, element);
  field[Symbol.dispose]();
  for (const { limbs } of [element, product]) expect(limbs.every((limb) => limb === 0)).toBe(true);
});

test("a quotient that does not exist ends in undefined", () => {
  using field = new PrimeField(3n * 5n * 7n, 1);
  const five = field.read(Uint8Array.of(5)) ?? field.element();
  expect(field.quotient(five, field.element())).toBeUndefined();
  expect(field.quotient(five, five)).toBeUndefined();
});
