import { describe, expect, test } from "bun:test";
import { array, assert, asyncProperty, constantFrom, integer, nat, tuple } from "fast-check";
import { partitionUuid } from "../../../../src/sources/usb/partition-identity.ts";
import { deviceWith, fixture } from "./fixtures.ts";

describe("the UUID of a partition, as sfdisk wrote it", () => {
  test.each([
    ["mbr.bin", 1, "1a2b3c4d-01"],
    ["mbr.bin", 2, "1a2b3c4d-02"],
    ["mbr.bin", 12, "1a2b3c4d-0c"],
    ["gpt.bin.gz", 1, "0fc63daf-8483-4772-8e79-3d69d8477de4"],
    ["gpt.bin.gz", 2, "6e8c1f2a-0b3d-4c5e-8f70-123456789abc"],
    ["gpt-4096.bin.gz", 1, "6e8c1f2a-0b3d-4c5e-8f70-123456789abc"],
  ])("%s, partition %d: %s", async (name, number, uuid) => {
    expect(await partitionUuid(deviceWith(fixture(name)), number)).toBe(uuid);
  });

  test.each([
    ["gpt.bin.gz", 3],
    ["gpt.bin.gz", 0],
    ["gpt.bin.gz", 100_000],
    ["gpt-4096.bin.gz", 2],
    ["ext4.bin", 1],
  ])("%s has no partition %d", async (name, number) => {
    expect(await partitionUuid(deviceWith(fixture(name)), number)).toBeUndefined();
  });

  test("a header whose checksum does not hold tells nothing", async () => {
    const bytes = fixture("gpt.bin.gz");
    bytes[512 + 72] = 3; // the entries are elsewhere
    expect(await partitionUuid(deviceWith(bytes), 1)).toBeUndefined();
  });

  test("a disk without a number has partitions without UUIDs", async () => {
    const bytes = fixture("mbr.bin");
    bytes.fill(0, 440, 444);
    expect(await partitionUuid(deviceWith(bytes), 1)).toBeUndefined();
  });
});

test("whatever stands in the table, there is an answer", async () => {
  const damage = array(tuple(nat(1100), integer({ min: 0, max: 255 })), { maxLength: 20 });
  await assert(
    asyncProperty(
      constantFrom("mbr.bin", "gpt.bin.gz", "gpt-4096.bin.gz"),
      damage,
      nat(200),
      async (name, changes, number) => {
        const bytes = fixture(name);
        for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
        const uuid = await partitionUuid(deviceWith(bytes), number);
        if (uuid !== undefined) expect(uuid).toMatch(/^[0-9a-f]{8}-[0-9a-f]{2}$|^[0-9a-f-]{36}$/);
      },
    ),
    { numRuns: 300 },
  );
});
