import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { type BtrfsReading, parseBtrfs, readBtrfs, SUPERBLOCK_AT } from "../../../src/system/btrfs.ts";
import { crc32c } from "../../../src/system/crc32c.ts";
import { btrfsBytes, btrfsFixtures } from "./btrfs-fixtures.ts";

/** The fields of a superblock whose checksum (crc32c) is made good again after a change. */
function changed(change: (view: DataView) => void, name = "crc32c1"): BtrfsReading {
  const bytes = btrfsBytes(name).slice();
  const view = new DataView(bytes.buffer);
  change(view);
  view.setUint32(0, (crc32c(bytes.subarray(32), 0xffffffff) ^ 0xffffffff) >>> 0, true);
  return parseBtrfs(bytes);
}

describe("what mkfs.btrfs makes", () => {
  test.each(btrfsFixtures.map((fixture) => [fixture.name, fixture] as const))("%s", (_, fixture) => {
    expect(parseBtrfs(btrfsBytes(fixture.name))).toEqual({
      filesystem: fixture.filesystem,
      label: fixture.label,
      devices: fixture.devices,
      deviceId: BigInt(fixture.device_id),
      deviceUuid: fixture.device_uuid,
      generation: BigInt(fixture.generation),
    });
  });

  test("every checksum type is among them", () => {
    expect(new Set(btrfsFixtures.map(({ checksum }) => checksum))).toEqual(
      new Set(["crc32c", "xxhash64", "sha256", "blake2"]),
    );
  });
});

describe("what cannot be believed", () => {
  test.each(["crc32c1", "xxhash1", "sha2561", "blake21"])("%s with one bit changed", (name) => {
    const bytes = btrfsBytes(name);
    bytes[300] = (bytes[300] ?? 0) ^ 1;
    expect(parseBtrfs(bytes)).toEqual({ problem: "the checksum does not match" });
  });

  const cases: [string, (view: DataView) => void, string][] = [
    ["checksum type 4", (view) => view.setUint16(196, 4, true), "checksum type 4 is not known"],
    ["a copy in the wrong place", (view) => view.setBigUint64(48, 67108864n, true), "it is at 67108864"],
    ["no device", (view) => view.setBigUint64(136, 0n, true), "counts 0 devices"],
    ["absurdly many devices", (view) => view.setBigUint64(136, 1n << 63n, true), "counts 9223372036854775808 devices"],
    ["an entry of another filesystem", (view) => view.setUint8(283, 1), "is that of another filesystem"],
  ];
  test.each(cases)("%s", (_, change, problem) => {
    expect(changed(change)).toEqual({ problem: expect.stringContaining(problem) });
  });

  test("a good superblock is one also after its checksum was made again", () => {
    expect(changed(() => undefined)).toMatchObject({ devices: 2 });
  });

  test("a renamed filesystem keeps its old name in its devices' entries, and only there", () => {
    expect(changed(() => undefined, "metadata-uuid")).toMatchObject({ devices: 1 });
    expect(changed((view) => view.setUint8(571, 1), "metadata-uuid")).toHaveProperty("problem");
  });
});

test("anything else holds no btrfs, and no bytes make it throw", () => {
  expect(parseBtrfs(new Uint8Array())).toBeUndefined();
  expect(parseBtrfs(btrfsBytes("single").slice(0, 1000))).toEqual({
    problem: "the device ends inside the superblock",
  });
  fc.assert(fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => void parseBtrfs(bytes)));
  const good = btrfsBytes("crc32c2");
  const edit = fc.record({ at: fc.nat({ max: good.length - 1 }), to: fc.nat({ max: 255 }) });
  fc.assert(
    fc.property(fc.array(edit, { maxLength: 8 }), (edits) => {
      const reading = changed((view) => {
        for (const { at, to } of edits) view.setUint8(at, to);
      });
      if (reading && !("problem" in reading)) expect(reading.devices).toBeWithin(1, 4097);
    }),
  );
});

test("of a device only the one superblock is read", async () => {
  const reads: [number, number][] = [];
  const reader = {
    path: "/dev/mapper/d1",
    size: 1 << 30,
    readAt: async (offset: number, length: number) => {
      reads.push([offset, length]);
      return btrfsBytes("sha2562");
    },
  };
  expect(await readBtrfs(reader)).toMatchObject({ deviceId: 2n });
  expect(reads).toEqual([[SUPERBLOCK_AT, 4096]]);
});
