import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  decodeBase64url,
  decodeSecretBase64url,
  encodeBase64url,
  encodeSecretBase64url,
} from "../../../src/jose/base64url.ts";
import { LatchkeyError } from "../../../src/system/errors.ts";

const ascii = (text: string): Uint8Array => Buffer.from(text, "latin1");

describe("base64url", () => {
  // RFC 4648 section 10, without the padding.
  test.each([
    ["", ""],
    ["f", "Zg"],
    ["fo", "Zm8"],
    ["foo", "Zm9v"],
    ["foob", "Zm9vYg"],
    ["fooba", "Zm9vYmE"],
    ["foobar", "Zm9vYmFy"],
  ])("of %p is %p, both ways", (plain, encoded) => {
    expect(encodeBase64url(ascii(plain))).toBe(encoded);
    expect(Buffer.from(decodeBase64url(encoded, "it")).toString()).toBe(plain);
    using secret = decodeSecretBase64url(ascii(encoded), "it");
    expect(Buffer.from(secret.bytes).toString()).toBe(plain);
    using text = encodeSecretBase64url(ascii(plain));
    expect(Buffer.from(text.bytes).toString()).toBe(encoded);
  });

  test.each([
    ["padding", "Zg=="],
    ["the standard alphabet", "-_8+"],
    ["white space", "Zm9v\n"],
    ["NUL", "Zm9\0"],
    ["a length that cannot be", "Zm9vY"],
    ["bits left over after one octet", "Zh"],
    ["bits left over after two octets", "Zm9"],
    ["characters beyond ASCII", "Zm9é"],
  ])("refuses %s", (_what, encoded) => {
    for (const decode of [
      () => decodeBase64url(encoded, "the tag"),
      () => decodeSecretBase64url(ascii(encoded), "the tag"),
    ]) {
      expect(decode).toThrow(LatchkeyError);
      expect(decode).toThrow("the tag");
    }
  });

  test("gives back any octets, as value and as secret", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        const encoded = encodeBase64url(bytes);
        expect(decodeBase64url(encoded, "it")).toEqual(new Uint8Array(bytes));
        using text = encodeSecretBase64url(bytes);
        expect(Buffer.from(text.bytes).toString()).toBe(encoded);
        using secret = decodeSecretBase64url(text.bytes, "it");
        expect(Buffer.from(secret.bytes)).toEqual(Buffer.from(bytes));
      }),
    );
  });

  test("one value has one spelling: what decodes, encodes to the same text", () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 12 }), (text) => {
        try {
          expect(encodeBase64url(decodeBase64url(text, "it"))).toBe(text);
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(LatchkeyError);
        }
      }),
    );
  });
});
