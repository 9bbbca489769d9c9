import { describe, expect, test } from "bun:test";
import { createCipheriv, randomBytes } from "node:crypto";
import fc from "fast-check";
import { Aes } from "../../../src/system/aes.ts";

const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, "hex"));

function encrypted(key: Uint8Array, block: Uint8Array): string {
  using aes = new Aes(key);
  const view = new DataView(block.buffer, block.byteOffset);
  const words = Int32Array.from([0, 4, 8, 12], (offset) => view.getInt32(offset));
  aes.encrypt(words);
  return [...words].map((word) => (word >>> 0).toString(16).padStart(8, "0")).join("");
}

describe("AES", () => {
  test.each([
    ["C.1", "000102030405060708090a0b0c0d0e0f", "69c4e0d86a7b0430d8cdb78070b4c55a"],
    ["C.3", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", "8ea2b7ca516745bfeafc49904b496089"],
  ])("gives the result of FIPS 197 appendix %s", (_where, key, expected) => {
    expect(encrypted(hex(key), hex("00112233445566778899aabbccddeeff"))).toBe(expected);
  });

  test.each([16, 32])("agrees with OpenSSL on any key of %d bytes and any block", (size) => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: size, maxLength: size }),
        fc.uint8Array({ minLength: 16, maxLength: 16 }),
        (key, block) => {
          const cipher = createCipheriv(`aes-${size * 8}-ecb`, key, null).setAutoPadding(false);
          expect(encrypted(Uint8Array.from(key), Uint8Array.from(block))).toBe(cipher.update(block).toString("hex"));
        },
      ),
      { numRuns: 300 },
    );
  });

  test.each([0, 15, 24, 33])("takes no key of %d bytes", (size) => {
    expect(() => new Aes(new Uint8Array(size))).toThrow(`a key of ${size} bytes`);
  });

  test("wipes its key schedule", () => {
    const aes = new Aes(randomBytes(32));
    aes[Symbol.dispose]();
    expect(() => aes.encrypt(new Int32Array(4))).not.toThrow();
    const zero = new Int32Array(4);
    aes.encrypt(zero); // with a schedule of zeros: the S-box alone, the same for every key
    const other = new Aes(randomBytes(32));
    other[Symbol.dispose]();
    const again = new Int32Array(4);
    other.encrypt(again);
    expect(again).toEqual(zero);
  });
});
