import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { LatchkeyError } from "../../../src/system/errors.ts";
import { concat, hex, sameBytes, sized, u16, u32, WireReader } from "../../../src/tpm2/wire.ts";

const reader = (bytes: Uint8Array) => new WireReader(bytes, "the answer to a test", "tpm2/bad-answer");

describe("a reader of TPM structures", () => {
  test("reads big-endian integers and sized buffers", () => {
    const read = reader(concat(Uint8Array.of(7), u16(0x0102), u32(0x80000001), sized(Uint8Array.of(1, 2, 3)), u16(0)));
    expect([read.u8(), read.u16(), read.u32(), hex(read.sized()), read.sized().length]).toEqual([
      7,
      0x0102,
      0x80000001,
      "010203",
      0,
    ]);
    read.end();
  });

  test("gives a sized buffer with its length for storing", () => {
    expect(hex(reader(concat(sized(Uint8Array.of(9)), u16(5))).sizedWhole())).toBe("000109");
  });

  test("says where it stopped, and with which error", () => {
    expect(() => reader(Uint8Array.of(0, 9, 1)).sized()).toThrow(
      "the answer to a test cannot be understood: it ends after 3 bytes, in the middle of a field",
    );
    expect(() => reader(Uint8Array.of(1)).end()).toThrow("1 bytes follow its end");
  });

  test("never reads past the end and throws nothing but its own error, whatever is read from whatever", () => {
    const steps = fc.array(fc.constantFrom("u8", "u16", "u32", "sized", "sizedWhole", "rest", "end"), {
      maxLength: 20,
    });
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), steps, (bytes, names) => {
        const read = reader(bytes);
        try {
          for (const name of names) read[name as "u8"]();
        } catch (error) {
          expect(error).toBeInstanceOf(LatchkeyError);
          expect((error as LatchkeyError).code).toBe("tpm2/bad-answer");
        }
        expect(read.remaining).toBeGreaterThanOrEqual(0);
        expect(read.offset + read.remaining).toBe(bytes.length);
      }),
    );
  });
});

test("equality is of length and content", () => {
  const one = Uint8Array.of(1, 2);
  expect([sameBytes(one, Uint8Array.of(1, 2)), sameBytes(one, Uint8Array.of(1)), sameBytes(one, u16(3))]).toEqual([
    true,
    false,
    false,
  ]);
});
