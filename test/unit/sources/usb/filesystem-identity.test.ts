import { describe, expect, test } from "bun:test";
import { array, assert, asyncProperty, constantFrom, integer, nat, tuple, uint8Array } from "fast-check";
import { identifyFilesystems, sameUuid } from "../../../../src/sources/usb/filesystem-identity.ts";
import { deviceWith, fixture } from "./fixtures.ts";

const identify = (bytes: Uint8Array) => identifyFilesystems(deviceWith(bytes));

describe("what blkid names, latchkey names alike", () => {
  test.each([
    ["fat12.bin", "vfat", "4F2A-99C1"],
    ["fat16.bin", "vfat", "00C0-FFEE"],
    ["fat32.bin", "vfat", "ABCD-1234"],
    ["exfat.bin", "exfat", "1234-ABCD"],
    ["ext4.bin", "ext4", "11111111-2222-4333-8444-aaaaaaaaaaaa"],
    ["ext2.bin", "ext4", "99999999-2222-4333-8444-555555555555"],
    ["iso9660.bin.gz", "iso9660", "2026-11-22-16-36-09-00"],
  ] as const)("%s is %s %s", async (name, type, uuid) => {
    expect(await identify(fixture(name))).toEqual([{ type, uuid }]);
  });

  test.each(["journal.bin", "mbr.bin", "gpt.bin.gz"])("%s is no filesystem", async (name) => {
    expect(await identify(fixture(name))).toEqual([]);
  });
});

describe("what has no identity", () => {
  const changed = (name: string, ...changes: readonly (readonly [at: number, bytes: readonly number[]])[]) => {
    const bytes = fixture(name);
    for (const [at, values] of changes) bytes.set(values, at);
    return bytes;
  };

  test.each([
    ["a FAT without a serial number", changed("fat16.bin", [39, [0, 0, 0, 0]])],
    ["a FAT whose serial number field is not in use", changed("fat16.bin", [38, [0]])],
    ["a FAT32 whose serial number field is not in use", changed("fat32.bin", [66, [0]])],
    ["a boot sector without its signature", changed("fat16.bin", [510, [0, 0]])],
    ["a FAT with sectors of 100 bytes", changed("fat16.bin", [11, [100, 0]])],
    ["a FAT without tables", changed("fat16.bin", [16, [0]])],
    ["a FAT of no size", changed("fat32.bin", [36, [0, 0, 0, 0]])],
    ["an exFAT without a serial number", changed("exfat.bin", [100, [0, 0, 0, 0]])],
    ["an exFAT that is a FAT, too", changed("exfat.bin", [11, [0, 2]])],
    ["an ext4 without a UUID", changed("ext4.bin", [1024 + 104, Array(16).fill(0)])],
    [
      "an ISO 9660 without dates",
      changed("iso9660.bin.gz", [32768 + 813, [...Buffer.from("0".repeat(16)), 0, ...Buffer.from("0".repeat(16)), 0]]),
    ],
    [
      "an ISO 9660 with dates of letters",
      changed("iso9660.bin.gz", [
        32768 + 813,
        [...Buffer.from("2026 not a date!"), 0, ...Buffer.from("../../../etc/pas"), 0],
      ]),
    ],
    ["a device of one sector", fixture("ext4.bin").slice(0, 512)],
    ["nothing", new Uint8Array()],
  ])("%s", async (_, bytes) => {
    expect(await identify(bytes)).toEqual([]);
  });

  test("an ISO 9660 that was never changed goes by the day it was made", async () => {
    const bytes = changed("iso9660.bin.gz", [32768 + 830, [...Buffer.from("0".repeat(16)), 0]]);
    bytes.set(Buffer.from("2001020304050607"), 32768 + 813);
    expect(await identify(bytes)).toEqual([{ type: "iso9660", uuid: "2001-02-03-04-05-06-07" }]);
  });
});

test("a device with two superblocks is both: whoever reads from it has to be sure", async () => {
  const bytes = fixture("iso9660.bin.gz");
  bytes.set(fixture("fat16.bin"));
  expect((await identify(bytes)).map(({ type }) => type)).toEqual(["vfat", "iso9660"]);
});

test("whatever lies there, it is told in bounded reads and without an error", async () => {
  const names = ["fat12.bin", "fat32.bin", "exfat.bin", "ext4.bin", "iso9660.bin.gz"];
  const damage = array(tuple(nat(34_815), integer({ min: 0, max: 255 })), { maxLength: 40 });
  await assert(
    asyncProperty(constantFrom(...names), damage, nat(34_816), async (name, changes, length) => {
      const bytes = fixture(name);
      for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
      for (const { uuid } of await identify(bytes.slice(0, length)))
        expect(uuid).toMatch(/^[0-9A-F-]{9}$|^[0-9a-f-]{36}$|^[\d-]{22}$/);
    }),
    { numRuns: 300 },
  );
  await assert(
    asyncProperty(uint8Array({ maxLength: 4096 }), async (bytes) => {
      await identify(bytes);
    }),
  );
});

test.each([
  ["4F2A-99C1", "4f2a-99c1", true],
  ["4F2A-99C1", "4F2A-99C", false],
  ["4F2A-99C1", "4F2A-99C11", false],
  ["", "4F2A-99C1", false],
])("%s and %s: %p", (one, other, isSame) => {
  expect(sameUuid(one, other)).toBe(isSame);
});
