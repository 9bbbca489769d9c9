import { describe, expect, test } from "bun:test";
import { isRaidMember } from "../../../src/system/raid-member.ts";

const MIB = 1024 * 1024;

/** A disk that holds nothing but this text, as hexadecimal digits, at an offset. */
const disk = (size: number, offset: number, hex: string) => ({
  size,
  readAt: async (start: number, length: number) => {
    const whole = new Uint8Array(size);
    whole.set(Uint8Array.fromHex(hex), offset);
    return whole.slice(start, start + length);
  },
});

/** "Intel Raid ISM Cfg Sig. " */
const IMSM = "496e74656c20526169642049534d2043666720536967 2e20".replaceAll(" ", "");

describe("a member of an array", () => {
  // Where util-linux' libblkid looks: superblocks/linux_raid.c, isw_raid.c, ddf_raid.c.
  test.each<[string, number, number, string]>([
    ["md 0.90", 4 * MIB, 4 * MIB - 65536, "fc4e2ba900000000"],
    ["md 0.90 on a disk of an odd size", 4 * MIB + 5120, 4 * MIB - 65536, "fc4e2ba900000000"],
    ["md 1.0", 4 * MIB, 4 * MIB - 8192, "fc4e2ba901000000"],
    ["md 1.0 on a disk of an odd size", 4 * MIB + 1536, 4 * MIB - 8192, "fc4e2ba901000000"],
    ["imsm", 4 * MIB, 4 * MIB - 1024, IMSM],
    ["imsm on large sectors", 4 * MIB, 4 * MIB - 8192, IMSM],
    ["DDF", 4 * MIB, 4 * MIB - 512, "de11de11"],
    ["DDF, the second place", 4 * MIB, 4 * MIB - 257 * 512, "de11de11"],
  ])("is known by its end: %s", async (_, size, offset, hex) => {
    expect(await isRaidMember(disk(size, offset, hex))).toBe(true);
  });

  test.each<[string, number, number, string]>([
    ["nothing", 4 * MIB, 0, "00"],
    ["a superblock of another disk", 4 * MIB, 2 * MIB, "fc4e2ba901000000"],
    ["of a version that lies elsewhere", 4 * MIB, 4 * MIB - 8192, "fc4e2ba902000000"],
    ["a tiny one", 600, 0, "fc4e2ba9"],
    ["an empty one", 0, 0, ""],
  ])("is told from %s", async (_, size, offset, hex) => {
    expect(await isRaidMember(disk(size, offset, hex))).toBe(false);
  });
});
