import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { checksum, checksumName, checksumType } from "../../../../src/providers/bcachefs/checksum.ts";
import { LatchkeyError } from "../../../../src/system/errors.ts";

const digits = new TextEncoder().encode("123456789");

describe("superblock checksums", () => {
  test.each([
    [0, 0n],
    [1, 0xe3069283n], // CRC-32/ISCSI
    [2, 0x62ec59e3f1a4f00an], // CRC-64/WE
    [6, 0x6c40df5f0b497347n], // CRC-64/ECMA-182
    [7, 0x8cb841db40e6ae83n], // XXH64, seed 0
  ] as const)("type %d gives the published check value", (type, value) => {
    expect(checksum(type, digits)).toBe(value);
  });

  test("the forms with a zero start differ from the usual ones by a constant that the length gives", () => {
    const parts = fc.tuple(fc.constantFrom([1, 5] as const, [2, 6] as const), fc.uint8Array({ maxLength: 300 }));
    fc.assert(
      fc.property(parts, ([[usual, zeroStart], data]) => {
        const nothing = new Uint8Array(data.length);
        const difference = checksum(usual, data) ^ checksum(zeroStart, data);
        expect(difference).toBe(checksum(usual, nothing) ^ checksum(zeroStart, nothing));
        expect(checksum(zeroStart, nothing)).toBe(0n);
      }),
    );
  });

  test("every single flipped bit changes the sum", () => {
    const types = fc.constantFrom(1, 2, 5, 6, 7);
    fc.assert(
      fc.property(types, fc.uint8Array({ minLength: 1, maxLength: 64 }), fc.nat(), (number, data, bit) => {
        const type = checksumType(number);
        const before = checksum(type, data);
        const index = (bit >> 3) % data.length;
        data[index] = (data[index] ?? 0) ^ (1 << (bit & 7));
        expect(checksum(type, data)).not.toBe(before);
      }),
    );
  });

  test("keyed and undefined types are refused", () => {
    for (let type = 0; type < 64; type++) {
      if ([0, 1, 2, 5, 6, 7].includes(type)) expect(checksumName(checksumType(type))).not.toBe("");
      else expect(() => checksumType(type)).toThrow(LatchkeyError);
    }
  });

  test("32 MiB, the most a layout allows, take well under a second", () => {
    const data = new Uint8Array(32 * 1024 * 1024).fill(0x5a);
    const before = process.cpuUsage();
    checksum(2, data);
    expect(process.cpuUsage(before).user / 1000).toBeLessThan(1000);
  });
});
