import { describe, expect, test } from "bun:test";
import { readSuperblock } from "../../../src/providers/bcachefs/read.ts";
import type { BlockDevices, OpenBlockReader } from "../../../src/system/block-devices.ts";
import { type BtrfsSuperblock, parseBtrfs, SUPERBLOCK_AT } from "../../../src/system/btrfs.ts";
import { LatchkeyError } from "../../../src/system/errors.ts";
import { compareMembers, type OpenMember } from "../../../src/unlock/compare-members.ts";
import { type Contents, readContents } from "../../../src/unlock/contents.ts";
import { fixtureBytes, MemoryReader } from "../providers/bcachefs/fixtures.ts";
import { btrfsBytes } from "../system/btrfs-fixtures.ts";
import { HandClock, settle } from "./fakes.ts";

function btrfs(fixture: string, overrides: Partial<BtrfsSuperblock> = {}): Contents {
  const superblock = parseBtrfs(btrfsBytes(fixture));
  if (!superblock || "problem" in superblock) throw new Error(`${fixture} is no btrfs`);
  return { kind: "btrfs", superblock: { ...superblock, ...overrides } };
}

async function bcachefs(fixture: string): Promise<Contents> {
  const reader = new MemoryReader(fixtureBytes(`cases/${fixture}.img.zst`), `/dev/mapper/${fixture}`);
  const { superblock } = await readSuperblock(reader);
  return { kind: "bcachefs", device: { path: reader.path, superblock, isHeld: false } };
}

const [multiA, multiB] = await Promise.all(["multi-a", "multi-b"].map(bcachefs));
const [first, second] = [btrfs("crc32c1"), btrfs("crc32c2")];
const single = btrfs("single");
const other: Contents = { kind: "other" };
const name = 'btrfs "pool crc32c" (6c617463-6865-4b65-8000-00000000b701)';

const members = (contents: Readonly<Record<string, Contents | undefined>>): readonly OpenMember[] =>
  Object.entries(contents).map(([volume, held]) => {
    if (!held) throw new Error(`${volume} holds nothing`);
    return { volume, contents: held };
  });

describe("a pool beside the word of its filesystem", () => {
  type Row = [string, Readonly<Record<string, Contents | undefined>>, readonly string[], readonly string[]];
  const rows: Row[] = [
    ["a whole btrfs", { d1: first, d2: second }, [], []],
    ["a whole bcachefs on mappings", { d1: multiA, d2: multiB }, [], []],
    ["filesystems of which nothing is known", { d1: other, d2: other }, [], []],
    ["two filesystems of one device each share a credential", { d1: single, d2: btrfs("metadata-uuid") }, [], []],
    ["a power cut between two superblocks", { d1: first, d2: btrfs("crc32c2", { generation: 7n }) }, [], []],
    [
      "a device of the filesystem that is not in the pool",
      { d1: first },
      [],
      [`${name} has 2 devices, and pool data opened 1 of them, d1 (devid 1): 1 of the others is no member of the pool`],
    ],
    [
      "a member that was done without",
      { d2: second },
      ["d1"],
      [`${name} has 2 devices, and pool data opened 1 of them, d2 (devid 2); d1 is missing`],
    ],
    [
      "more devices than those that were done without",
      { d1: btrfs("crc32c1", { devices: 4 }), d2: btrfs("crc32c2", { devices: 4 }) },
      ["d3"],
      [
        `${name} has 4 devices, and pool data opened 2 of them, d1 (devid 1), d2 (devid 2): 1 of the others is no member of the pool`,
      ],
    ],
    [
      "the newest superblock counts the devices",
      { d1: first, d2: btrfs("crc32c2", { devices: 3, generation: 7n }) },
      [],
      [
        `${name} has 3 devices, and pool data opened 2 of them, d1 (devid 1), d2 (devid 2): 1 of the others is no member of the pool`,
      ],
    ],
    [
      "a member that belongs to another filesystem",
      { d1: first, d2: second, d3: single },
      [],
      [
        `d3 does not belong to ${name} as the rest of pool data does: it holds btrfs (6c617463-6865-4b65-8000-00000000b705)`,
      ],
    ],
    [
      "a member with something else in it",
      { d1: other, d2: first, d3: second },
      [],
      [`d1 does not belong to ${name} as the rest of pool data does: it holds something else`],
    ],
    [
      "a member that was away for long",
      { d1: btrfs("crc32c1", { generation: 40n }), d2: second },
      [],
      [`d2 was away while d1 was written to: it is 34 generations of ${name} behind`],
    ],
    [
      "a member whose superblock is damaged",
      { d1: first, d2: { kind: "unreadable", problem: "its btrfs is damaged: the checksum does not match" } },
      [],
      [
        "d2 is open, and what it holds cannot be read: its btrfs is damaged: the checksum does not match",
        `${name} has 2 devices, and pool data opened 1 of them, d1 (devid 1): 1 of the others is no member of the pool`,
      ],
    ],
    [
      "a bcachefs names the member that is missing",
      { d1: multiA },
      [],
      [
        "bcachefs (f59e7fd8-500a-4207-bf4b-caae687ab119) has 2 devices, and pool data opened 1 of them, d1 (slot 0): 1 of the others is no member of the pool: slot 1 (member 9ec5f992-6ed8-4bc1-bc66-1c76cead77ca)",
      ],
    ],
  ];
  test.each(rows)("%s", (_, contents, missing, texts) => {
    const { error, warnings } = compareMembers("data", members(contents), missing);
    expect(error).toBeUndefined();
    expect(warnings.map(({ text }) => text)).toEqual([...texts]);
    for (const { hint } of warnings) expect(hint).not.toBe("");
  });

  test("members of a bcachefs that were written to without each other are told in the reader's words", () => {
    if (multiB?.kind !== "bcachefs") throw new Error("multi-b is no bcachefs");
    const superblock = { ...multiB.device.superblock, writeTime: multiB.device.superblock.writeTime + 9n };
    const split: Contents = { kind: "bcachefs", device: { ...multiB.device, superblock } };
    const { warnings } = compareMembers("data", members({ a: multiA, b: split }), []);
    expect(warnings[0]?.text).toContain("/dev/mapper/multi-a is left out: split brain");
  });

  test.each([
    ["btrfs", { d1: first, d2: second, d3: first }, "d1 and d3 hold the same device of"],
    ["bcachefs", { d1: multiA, d2: multiA }, "d1 and d2 hold the same device of bcachefs"],
  ] as const)("a copy of a member of a %s must not stay open", (_, contents, text) => {
    const { error } = compareMembers("data", members(contents), []);
    expect(error?.code).toBe("pool/duplicate-member");
    expect(error?.message).toContain(text);
  });
});

describe("what an opened mapping holds", () => {
  const devices = (open: (path: string) => Promise<OpenBlockReader>): BlockDevices => ({
    open,
    resolve: () => Promise.resolve(undefined),
    list: () => Promise.resolve([]),
    changes: () => ({
      [Symbol.asyncIterator]: () => ({ next: () => Promise.resolve({ done: true, value: undefined }) }),
    }),
  });
  const holding = (bytes: Uint8Array) => devices((path) => Promise.resolve(new MemoryReader(bytes, path)));
  const btrfsImage = (change: (bytes: Uint8Array) => void = () => undefined): Uint8Array => {
    const bytes = new Uint8Array(256 * 1024);
    bytes.set(btrfsBytes("crc32c1"), SUPERBLOCK_AT);
    change(bytes);
    return bytes;
  };

  test("btrfs, bcachefs, or something else", async () => {
    const clock = new HandClock();
    expect(await readContents(holding(btrfsImage()), "/dev/mapper/d1", clock)).toEqual(first);
    const image = fixtureBytes("cases/multi-b.img.zst");
    expect(await readContents(holding(image), "/dev/mapper/d2", clock)).toMatchObject({
      kind: "bcachefs",
      device: { path: "/dev/mapper/d2", superblock: { deviceIndex: 1 } },
    });
    expect(await readContents(holding(new Uint8Array(1 << 20)), "/dev/mapper/d3", clock)).toEqual(other);
    expect(await readContents(holding(new Uint8Array(512)), "/dev/mapper/d3", clock)).toEqual(other);
  });

  test("damage is told, not thrown", async () => {
    const bytes = btrfsImage((image) => image.fill(1, SUPERBLOCK_AT + 1000, SUPERBLOCK_AT + 1010));
    expect(await readContents(holding(bytes), "/dev/mapper/d1", new HandClock())).toEqual({
      kind: "unreadable",
      problem: "its btrfs is damaged: the checksum does not match",
    });
    const failing = devices((path) => Promise.reject(new LatchkeyError("device/unreadable", `${path} cannot be read`)));
    expect(await readContents(failing, "/dev/mapper/d1", new HandClock())).toEqual({
      kind: "unreadable",
      problem: "/dev/mapper/d1 cannot be read",
    });
  });

  test("a mapping that does not answer holds nothing up", async () => {
    const clock = new HandClock();
    const reading = readContents(
      devices(() => new Promise(() => undefined)),
      "/dev/mapper/d1",
      clock,
    );
    await clock.advance(5000);
    expect(await reading).toEqual({ kind: "unreadable", problem: "it did not answer within 5 s" });
    await settle();
  });
});
