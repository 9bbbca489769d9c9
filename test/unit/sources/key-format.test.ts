import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { KeyFormat } from "../../../src/config/plan.ts";
import { checksumOf, hasChecksum } from "../../../src/sources/key-checksum.ts";
import { decodeKey } from "../../../src/sources/key-format.ts";
import { LatchkeyError } from "../../../src/system/errors.ts";
import { SecretBytes } from "../../../src/system/secret-bytes.ts";

const secret = (bytes: Uint8Array | string) => SecretBytes.take(Uint8Array.from(Buffer.from(bytes)));

function decoded(bytes: Uint8Array | string, format: KeyFormat): Buffer {
  using content = secret(bytes);
  return Buffer.from(decodeKey(content, format, "root.key").bytes);
}

function refusal(bytes: Uint8Array | string, format: KeyFormat): string {
  try {
    decoded(bytes, format);
  } catch (thrown) {
    if (thrown instanceof LatchkeyError && thrown.code === "key-file/bad-format") return thrown.message;
    throw thrown;
  }
  return "accepted";
}

describe("raw", () => {
  test("is taken as it is, newline and NUL included", () => {
    expect(decoded("a\0b\n", "raw")).toEqual(Buffer.from("a\0b\n"));
  });

  test("that is empty is refused", () => {
    expect(refusal("", "raw")).toBe("root.key is empty");
  });
});

describe("hex", () => {
  test.each([
    ["00ff10", "00ff10"],
    ["DEADbeef\n", "deadbeef"],
    [" 0 0\t1\r\n1 ", "0011"],
  ])("%p is %s", (text, hex) => {
    expect(decoded(text, "hex").toString("hex")).toBe(hex);
  });

  test.each([
    ["abc", "root.key holds an odd number of hexadecimal digits: something is missing"],
    ["0x00", "root.key is to hold hexadecimal digits, and byte 2 of it is none"],
    ["ab\0cd", "root.key is to hold hexadecimal digits, and byte 3 of it is none"],
    [" \n", "root.key holds no hexadecimal digits"],
    ["", "root.key is empty"],
  ])("%p is refused: %s", (text, message) => {
    expect(refusal(text, "hex")).toBe(message);
  });

  test("whatever bytes are written so, come back, with any white space between", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 1, maxLength: 200 }),
        fc.array(fc.constantFrom("", " ", "\n", "\t\r\n"), { minLength: 1 }),
        (bytes, gaps) => {
          const text = [...Buffer.from(bytes).toString("hex")]
            .map((digit, i) => digit + gaps[i % gaps.length])
            .join("");
          expect(decoded(text, "hex")).toEqual(Buffer.from(bytes));
        },
      ),
    );
  });

  test("leaves nothing of the digits behind the key", () => {
    using content = secret("a1b2c3d4");
    const { bytes } = content;
    decodeKey(content, "hex", "root.key");
    expect([...bytes]).toEqual([0xa1, 0xb2, 0xc3, 0xd4, 0, 0, 0, 0]);
  });
});

describe("text", () => {
  test.each([
    ["correct horse", "correct horse"],
    ["correct horse\n", "correct horse"],
    ["correct horse\r\n", "correct horse"],
    [" with blanks \n", " with blanks "],
    ["Größe\n", "Größe"],
    ["ends in CR\r", "ends in CR\r"],
  ])("%p is %p", (text, passphrase) => {
    expect(decoded(text, "text").toString()).toBe(passphrase);
  });

  test.each([
    ["one\ntwo\n", "root.key is to hold one line of text, and holds several"],
    ["one\n\n", "root.key is to hold one line of text, and holds several"],
    ["a\0b", "root.key is to hold a line of text, and has a NUL byte in it"],
    [Uint8Array.of(0xff, 0xfe, 0x41), "root.key is to hold a line of text, and is no UTF-8"],
    ["\n", "root.key holds an empty line"],
    ["\r\n", "root.key holds an empty line"],
    ["", "root.key is empty"],
  ])("%p is refused: %s", (bytes, message) => {
    expect(refusal(bytes, "text")).toBe(message);
  });
});

describe("the checksum", () => {
  test("is SHA-256 over the bytes of the file, in either case", () => {
    using content = secret("abc");
    const known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"; // FIPS 180-2, appendix B.1
    expect(checksumOf(content)).toBe(known);
    expect(hasChecksum(content, known)).toBe(true);
    expect(hasChecksum(content, known.toUpperCase())).toBe(true);
  });

  test.each(["", "ba7816bf", "0".repeat(64), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ae"])(
    "%p is another",
    (expected) => {
      using content = secret("abc");
      expect(hasChecksum(content, expected)).toBe(false);
    },
  );
});
