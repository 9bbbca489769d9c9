import { describe, expect, test } from "bun:test";
import { SUPERBLOCK_AT } from "../../../src/system/btrfs.ts";
import { afterOpening, type OpenGroup } from "../../../src/unlock/after-opening.ts";
import { fixtureBytes, MemoryReader } from "../providers/bcachefs/fixtures.ts";
import { btrfsBytes } from "../system/btrfs-fixtures.ts";
import { HandClock } from "./fakes.ts";

function btrfsImage(fixture: string): Uint8Array {
  const bytes = new Uint8Array(SUPERBLOCK_AT + 8192);
  bytes.set(btrfsBytes(fixture), SUPERBLOCK_AT);
  return bytes;
}

/** Mappings by name, with what they hold; the LUKS UUID of d1 is u-d1, and its node /dev/dm-d1. */
function machine(images: Readonly<Record<string, Uint8Array>>, problem?: string) {
  const told: (readonly string[])[] = [];
  const after = afterOpening({
    devices: {
      open: (path) =>
        Promise.resolve(new MemoryReader(images[path.slice("/dev/mapper/".length)] ?? new Uint8Array(), path)),
      resolve: (reference) =>
        Promise.resolve(reference.by === "path" ? reference.path.replace("/dev/mapper/", "/dev/dm-") : undefined),
    },
    mappings: { find: (uuid) => Promise.resolve(uuid.slice(2) in images ? uuid.slice(2) : undefined) },
    clock: new HandClock(),
    lookAgain: (nodes) => {
      told.push(nodes);
      return Promise.resolve(problem);
    },
  });
  return { after, told };
}

function group(names: readonly string[], overrides: Partial<OpenGroup> = {}): OpenGroup {
  const volumes = names.map((name) => ({ name, kind: "luks" as const, uuid: `u-${name}` }));
  return { name: "data", isPool: true, volumes, missing: [], ...overrides };
}

const btrfs = { d1: btrfsImage("crc32c1"), d2: btrfsImage("crc32c2") };

describe("once the last member is open", () => {
  test("udev looks again at all mappings of the pool", async () => {
    const { after, told } = machine(btrfs);
    expect(await after(group(["d1", "d2"]))).toEqual({
      error: undefined,
      warnings: [],
      notes: ["udev looked again at d1, d2"],
    });
    expect(told).toEqual([["/dev/dm-d1", "/dev/dm-d2"]]);
  });

  test("also where latchkey does not know what is spread over them", async () => {
    const { after, told } = machine({ d1: new Uint8Array(1 << 20), d2: new Uint8Array(1 << 20) });
    await after(group(["d1", "d2"]));
    expect(told).toHaveLength(1);
  });

  test("volumes that no pool holds together: when the second device of their btrfs has come, and not before", async () => {
    const { after, told } = machine({ ...btrfs, d3: btrfsImage("single") });
    const alone = { isPool: false };
    await after(group(["d1"], { ...alone, name: "d1" }));
    await after(group(["d3"], { ...alone, name: "d3" }));
    expect(told).toEqual([]);
    expect((await after(group(["d2"], { ...alone, name: "d2" }))).notes).toEqual(["udev looked again at d1, d2"]);
    expect(told).toEqual([["/dev/dm-d1", "/dev/dm-d2"]]);
  });

  test("what udev could not do is told, and no error", async () => {
    const { after } = machine(btrfs, "udevadm trigger: status 1: no");
    expect(await after(group(["d1", "d2"]))).toMatchObject({
      error: undefined,
      notes: ["udev did not look again at d1, d2: udevadm trigger: status 1: no"],
    });
  });

  test("differences are found", async () => {
    const { after } = machine({ d1: btrfs.d1 });
    const { warnings } = await after(group(["d1"], { missing: ["d2"] }));
    expect(warnings[0]?.text).toEndWith("d2 is missing");
  });

  test("copies are refused, and udev is not sent to them", async () => {
    const { after, told } = machine({ d1: btrfs.d1, d2: btrfs.d1 });
    expect((await after(group(["d1", "d2"]))).error?.code).toBe("pool/duplicate-member");
    expect(told).toEqual([]);
  });

  test("only LUKS makes mappings, and one that is gone again is passed over", async () => {
    const image = fixtureBytes("cases/multi-a.img.zst");
    const { after, told } = machine({ d1: image });
    const volumes = [
      { name: "d1", kind: "bcachefs" as const, uuid: "u-d1" },
      { name: "d9", kind: "luks" as const, uuid: "u-d9" },
    ];
    expect(await after(group([], { volumes }))).toEqual({ error: undefined, warnings: [], notes: [] });
    expect(told).toEqual([]);
  });
});
