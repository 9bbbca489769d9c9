import { describe, expect, test } from "bun:test";
import { randomFillSync } from "node:crypto";
import fc from "fast-check";
import { keyFromOctJwk, octJwkText } from "../../../src/jose/oct-jwk.ts";
import { LatchkeyError } from "../../../src/system/errors.ts";
import { SecretBytes } from "../../../src/system/secret-bytes.ts";

const read = (text: string): string => {
  using jwk = SecretBytes.take(Buffer.from(text));
  using key = keyFromOctJwk(jwk);
  return Buffer.from(key.bytes).toString();
};

describe("a symmetric key as JWK", () => {
  test.each([
    ["as jose writes it", '{"alg":"A256GCM","k":"Zm9vYmFy","key_ops":["encrypt","decrypt"],"kty":"oct"}'],
    ["with the line feed of jose", '{"alg":"A256GCM","k":"Zm9vYmFy","key_ops":["encrypt","decrypt"],"kty":"oct"}\n'],
    ["with spaces", ' { "kty" : "oct" , "k" : "Zm9vYmFy" } '],
    ["with members to step over", '{"a":{"k":"x","l":[1,{"k":"}"}]},"b":-1.5e3,"c":null,"kty":"oct","k":"Zm9vYmFy"}'],
  ])("is read %s", (_what, text) => {
    expect(read(text)).toBe("foobar");
  });

  test.each([
    ["nothing", ""],
    ["something else", "hunter2"],
    ["a list", "[]"],
    ["no k", '{"kty":"oct"}'],
    ["no kty", '{"k":"Zm9vYmFy"}'],
    ["another kty", '{"k":"Zm9vYmFy","kty":"EC"}'],
    ["k as number", '{"k":5,"kty":"oct"}'],
    ["k with an escape", '{"k":"Zm9\\u0076","kty":"oct"}'],
    ["k in the standard alphabet", '{"k":"+/==","kty":"oct"}'],
    ["something after it", '{"k":"Zm9vYmFy","kty":"oct"}x'],
    ["cut in a string", '{"k":"Zm9v'],
    ["cut after a comma", '{"k":"Zm9v",'],
    ["cut in a list", '{"a":[1,'],
    ["too much of it", `{"a":"${"x".repeat(5000)}","k":"Zm9vYmFy","kty":"oct"}`],
  ])("is refused when it is %s, and nothing of it is quoted", (_what, text) => {
    expect(() => read(text)).toThrow(LatchkeyError);
    expect(() => read(text)).not.toThrow(/Zm9v|hunter2|foobar/);
  });

  test("written for sealing is read back, and is what JSON.parse reads", () => {
    using key = SecretBytes.allocate(32);
    randomFillSync(key.bytes);
    using text = octJwkText(key);
    expect(text.length).toBe(111); // below the 128 that a TPM seals
    expect(JSON.parse(Buffer.from(text.bytes).toString())).toEqual({
      alg: "A256GCM",
      k: Buffer.from(key.bytes).toString("base64url"),
      key_ops: ["encrypt", "decrypt"],
      kty: "oct",
    });
    using read = keyFromOctJwk(text);
    expect(read.equals(key)).toBe(true);
  });

  test("is read or refused with our error, whatever the bytes", () => {
    const texts = fc.oneof(
      fc.uint8Array(),
      fc.json().map((text) => Buffer.from(text)),
      fc
        .array(fc.constantFrom("{", "}", "[", "]", ",", ":", '"k"', '"kty"', '"oct"', '"Zg"', " ", "1"), {
          maxLength: 16,
        })
        .map((parts) => Buffer.from(parts.join(""))),
    );
    fc.assert(
      fc.property(texts, (bytes) => {
        using jwk = SecretBytes.take(Uint8Array.from(bytes));
        try {
          keyFromOctJwk(jwk)[Symbol.dispose]();
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(LatchkeyError);
        }
      }),
      { numRuns: 500 },
    );
  });
});
