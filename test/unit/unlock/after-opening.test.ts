import { describe, expect, test } from "bun:test";
import { type BtrfsSuperblock, parseBtrfs, SUPERBLOCK_AT } from "../../../src/system/btrfs.ts";
import { LatchkeyError } from "../../../src/system/errors.ts";
import { afterOpening, type OpenGroup } from "../../../src/unlock/after-opening.ts";
import { fixtureBytes, MemoryReader } from "../providers/bcachefs/fixtures.ts";
import { btrfsBytes } from "../system/btrfs-fixtures.ts";
import { HandClock } from "./fakes.ts";

function btrfsImage(fixture: string): Uint8Array {
  const bytes = new Uint8Array(SUPERBLOCK_AT + 8192);
  bytes.set(btrfsBytes(fixture), SUPERBLOCK_AT);
  return bytes;
}

interface Course {
  /** What udev answers when it is told to look again. */
  readonly problem?: string;
  /** There is no room for a mark. */
  readonly isFull?: boolean;
  /** Milliseconds until udev has made the links. */
  readonly linkAt?: number;
}

/** Mappings by name, with what they hold; the LUKS UUID of d1 is u-d1, and its node /dev/dm-d1. */
function machine(images: Readonly<Record<string, Uint8Array>>, { problem, isFull = false, linkAt }: Course = {}) {
  const clock = new HandClock();
  const told: (readonly string[])[] = [];
  const degraded: string[] = [];
  const after = afterOpening({
    devices: {
      open: (path) =>
        Promise.resolve(new MemoryReader(images[path.slice("/dev/mapper/".length)] ?? new Uint8Array(), path)),
      resolve: (reference) =>
        Promise.resolve(
          reference.by === "path" && clock.now() >= (linkAt ?? 0)
            ? reference.path.replace("/dev/mapper/", "/dev/dm-")
            : undefined,
        ),
    },
    mappings: { find: (uuid) => Promise.resolve(uuid.slice(2) in images ? uuid.slice(2) : undefined) },
    clock,
    lookAgain: (nodes) => {
      told.push(nodes);
      return Promise.resolve(problem);
    },
    goOnDegraded: (filesystem) => {
      if (isFull) throw new LatchkeyError("system/run-directory", "no space");
      degraded.push(filesystem);
    },
  });
  return { after, told, degraded, clock };
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
    const { after } = machine(btrfs, { problem: "udevadm trigger: status 1: no" });
    expect(await after(group(["d1", "d2"]))).toMatchObject({
      error: undefined,
      notes: ["udev did not look again at d1, d2: udevadm trigger: status 1: no"],
    });
  });

  test("the link to a mapping is waited for before it is read, and not for ever", async () => {
    const late = machine({ d1: btrfs.d1 }, { linkAt: 3000 });
    const looking = late.after(group(["d1"], { missing: ["d2"] }));
    await late.clock.advance(3000);
    expect((await looking).warnings[0]?.text).toEndWith("d2 is missing");
    const never = machine(btrfs, { linkAt: Number.POSITIVE_INFINITY });
    const inVain = never.after(group(["d1", "d2"]));
    await never.clock.advance(20_000);
    await inVain;
    expect(never.told).toEqual([["/dev/mapper/d1", "/dev/mapper/d2"]]);
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

describe("a btrfs that goes on degraded", () => {
  const lost = (...missing: string[]) => group(["d1"], { missing });
  const uuid = parseBtrfs(btrfsBytes("crc32c1")) as BtrfsSuperblock;

  test("is told to udev, which then looks again, at one device alone, too", async () => {
    const { after, told, degraded } = machine({ d1: btrfs.d1 });
    expect((await after(lost("d2"))).notes).toEqual([
      `udev is told not to wait for the missing devices of btrfs ${uuid.filesystem}`,
      "udev looked again at d1",
    ]);
    expect(degraded).toEqual([uuid.filesystem]);
    expect(told).toEqual([["/dev/dm-d1"]]);
  });

  test("is not, when nothing is missing, or when what is missing is not what it lacks", async () => {
    const whole = machine(btrfs);
    await whole.after(group(["d1", "d2"]));
    await whole.after(group(["d1", "d2"], { missing: ["d3"] }));
    expect(whole.degraded).toEqual([]);
    const alone = machine({ d1: btrfs.d1, d3: btrfsImage("single") });
    await alone.after(lost());
    await alone.after(group(["d3"], { missing: ["d2"] }));
    expect(alone.degraded).toEqual([]);
  });

  test("where the word cannot be left it is told, and no error", async () => {
    const { after } = machine({ d1: btrfs.d1 }, { isFull: true });
    const { error, notes } = await after(lost("d2"));
    expect(error).toBeUndefined();
    expect(notes[0]).toBe(`udev waits for the missing devices of btrfs ${uuid.filesystem}: no space`);
  });
});
