import { crc32c } from "../../system/crc32c.ts";
import { damaged } from "./identity.ts";

/** The checksum types a superblock may have: BCH_CSUM_TYPES of fs/bcachefs_format.h without the keyed ones. */
const names = {
  0: "none",
  1: "crc32c",
  2: "crc64",
  5: "crc32c (zero start)",
  6: "crc64 (zero start)",
  7: "xxhash",
} as const;

export type ChecksumType = keyof typeof names;

/** @throws LatchkeyError bcachefs/superblock-damaged for the keyed MACs (3, 4) and types nobody has defined */
export function checksumType(type: number): ChecksumType {
  if (Object.hasOwn(names, type)) return type as ChecksumType;
  throw damaged(`a superblock cannot have checksum type ${type}`);
}

export function checksumName(type: ChecksumType): string {
  return names[type];
}

/**
 * The two words a superblock stores, as bch2_checksum of fs/data/checksum.c makes them; the high word is always 0.
 * Type none gives 0, so that a file system that was formatted and never started compares equal.
 */
export function checksum(type: ChecksumType, data: Uint8Array): bigint {
  switch (type) {
    case 0:
      return 0n;
    case 1:
      return BigInt((crc32c(data, 0xffffffff) ^ 0xffffffff) >>> 0);
    case 2:
      return crc64(data, 0xffffffff) ^ 0xffffffffffffffffn;
    case 5:
      return BigInt(crc32c(data, 0));
    case 6:
      return crc64(data, 0);
    case 7:
      return Bun.hash.xxHash64(data, 0n);
  }
}

/** Polynomial 42f0e1eba9ea3693 of ECMA-182, not reflected: crc64_be of the kernel's lib/crc. */
const CRC64_HIGH = 0x42f0e1eb;
const CRC64_LOW = 0xa9ea3693;

let crc64Table: { high: Int32Array; low: Int32Array } | undefined;

function makeCrc64Table(): { high: Int32Array; low: Int32Array } {
  const table = { high: new Int32Array(256), low: new Int32Array(256) };
  for (let byte = 0; byte < 256; byte++) {
    let high = byte << 24;
    let low = 0;
    for (let bit = 0; bit < 8; bit++) {
      const carry = high < 0;
      high = (high << 1) | (low >>> 31);
      low <<= 1;
      if (carry) {
        high ^= CRC64_HIGH;
        low ^= CRC64_LOW;
      }
    }
    table.high[byte] = high;
    table.low[byte] = low;
  }
  return table;
}

/**
 * In two halves of 32 bits: BigInt arithmetic per byte would take seconds on the largest superblock a layout allows.
 * @param start each half of the initial value
 */
function crc64(data: Uint8Array, start: number): bigint {
  crc64Table ??= makeCrc64Table();
  const table = crc64Table;
  let high = start | 0;
  let low = start | 0;
  for (let index = 0; index < data.length; index++) {
    const byte = (high >>> 24) ^ (data[index] ?? 0);
    high = ((high << 8) | (low >>> 24)) ^ (table.high[byte] ?? 0);
    low = (low << 8) ^ (table.low[byte] ?? 0);
  }
  return (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
}
