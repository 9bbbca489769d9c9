import { describe, expect, test } from "bun:test";
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import fc from "fast-check";
import { decryptA256gcm, encryptA256gcm, openA256gcm } from "../../../src/jose/a256gcm.ts";
import { MAX_CIPHERTEXT, parseCompactJwe } from "../../../src/jose/jwe.ts";
import { SecretBytes } from "../../../src/system/secret-bytes.ts";

const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, "hex"));

describe("A256GCM", () => {
  // Test cases 13 to 16 of McGrew and Viega, "The Galois/Counter Mode of Operation", appendix B: 256-bit keys, 96-bit ivs.
  const longKey = "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308";
  const longIv = "cafebabefacedbaddecaf888";
  const long =
    "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad";
  test.each([
    ["0".repeat(64), "0".repeat(24), "", "", "", "530f8afbc74536b9a963b4f1c4cb738b"],
    [
      "0".repeat(64),
      "0".repeat(24),
      "",
      "0".repeat(32),
      "cea7403d4d606b6e074ec5d3baf39d18",
      "d0d1c8a799996bf0265b98b5d48ab919",
    ],
    [
      longKey,
      longIv,
      "",
      "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255",
      long,
      "b094dac5d93471bdec1a502270e3cc6c",
    ],
    [
      longKey,
      longIv,
      "feedfacedeadbeeffeedfacedeadbeefabaddad2",
      "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
      long.slice(0, 120),
      "76fc6ece0f4e1768cddf8853bb2d551b",
    ],
  ])("gives the result of the paper (%#)", (key, iv, authenticated, plaintext, ciphertext, tag) => {
    using secretKey = SecretBytes.take(hex(key));
    const parts = { iv: hex(iv), ciphertext: hex(ciphertext), tag: hex(tag) };
    using opened = openA256gcm(secretKey, parts, hex(authenticated));
    expect(Buffer.from(opened.bytes).toString("hex")).toBe(plaintext);
  });

  test("opens what OpenSSL encrypts, for any header and length", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        fc.uint8Array({ minLength: 12, maxLength: 12 }),
        fc.uint8Array({ maxLength: 100 }),
        fc.uint8Array({ maxLength: 100 }),
        (key, iv, authenticated, plaintext) => {
          const cipher = createCipheriv("aes-256-gcm", key, iv);
          cipher.setAAD(authenticated);
          const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final()]);
          using secretKey = SecretBytes.take(Uint8Array.from(key));
          using opened = openA256gcm(secretKey, { iv, ciphertext, tag: cipher.getAuthTag() }, authenticated);
          expect(Buffer.from(opened.bytes).equals(Buffer.from(plaintext))).toBe(true);
        },
      ),
      { numRuns: 300 },
    );
  });

  test("makes what OpenSSL opens", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        const key = randomBytes(32);
        using secretKey = SecretBytes.take(Uint8Array.from(key));
        using plaintext = SecretBytes.take(Uint8Array.from(bytes));
        const jwe = parseCompactJwe(encryptA256gcm(secretKey, { alg: "dir", enc: "A256GCM" }, plaintext));
        const decipher = createDecipheriv("aes-256-gcm", key, jwe.iv);
        decipher.setAAD(Buffer.from(jwe.encodedHeader)).setAuthTag(jwe.tag);
        expect(Buffer.concat([decipher.update(jwe.ciphertext), decipher.final()]).equals(Buffer.from(bytes))).toBe(
          true,
        );
      }),
      { numRuns: 100 },
    );
  });

  test("takes the longest secret in less than the blink that a boot can spare", () => {
    using key = SecretBytes.take(Uint8Array.from(randomBytes(32)));
    using plaintext = SecretBytes.allocate(MAX_CIPHERTEXT);
    const jwe = parseCompactJwe(encryptA256gcm(key, {}, plaintext));
    const started = performance.now();
    using opened = decryptA256gcm(key, jwe);
    expect(opened.equals(plaintext)).toBe(true);
    expect(performance.now() - started).toBeLessThan(3_000); // 0.2 s on an idle machine
  });
});
