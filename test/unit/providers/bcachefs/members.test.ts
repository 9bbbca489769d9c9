import { describe, expect, test } from "bun:test";
import type { Member } from "../../../../src/providers/bcachefs/fields.ts";
import { type MemberDevice, memberText, viewFilesystem } from "../../../../src/providers/bcachefs/members.ts";
import { readSuperblock } from "../../../../src/providers/bcachefs/read.ts";
import type { Superblock } from "../../../../src/providers/bcachefs/superblock.ts";
import { fixtureBytes, MemoryReader } from "./fixtures.ts";

async function device(path: string, fixture: string, change: Partial<Superblock> = {}): Promise<MemberDevice> {
  const { superblock } = await readSuperblock(new MemoryReader(fixtureBytes(`cases/${fixture}.bin`)));
  return { path, superblock: { ...superblock, ...change }, isHeld: false };
}

const paths = (devices: readonly MemberDevice[]): readonly string[] => devices.map(({ path }) => path);

function believing(members: readonly Member[], index: number, change: Partial<Member>): readonly Member[] {
  return members.map((member) => (member.index === index ? { ...member, ...change } : member));
}

describe("the members of a file system", () => {
  test("all there: one device per slot, in the order of slots, whichever was found first", async () => {
    const a = await device("/dev/sdz", "multi-a");
    const b = await device("/dev/sda", "multi-b");
    for (const view of [viewFilesystem([a, b]), viewFilesystem([b, a])]) {
      expect(paths(view.devices)).toEqual(["/dev/sdz", "/dev/sda"]);
      expect([view.missing, view.notes]).toEqual([[], []]);
    }
  });

  test("a missing member is named by slot and member UUID", async () => {
    const view = viewFilesystem([await device("/dev/sda", "multi-a")]);
    expect(view.missing.map(memberText)).toEqual(["slot 1 (member 9ec5f992-6ed8-4bc1-bc66-1c76cead77ca)"]);
  });

  test("a member that missed writes is used, but the newest one decides", async () => {
    const stale = await device("/dev/sda", "stale-a");
    const newest = await device("/dev/sdb", "stale-b");
    const view = viewFilesystem([stale, newest]);
    expect(view.newest.path).toBe("/dev/sdb");
    expect(paths(view.devices)).toEqual(["/dev/sda", "/dev/sdb"]);
    expect(view.missing).toEqual([]);
  });

  test("with equal sequence numbers before 1.4 the later write decides", async () => {
    const version = (1 << 10) | 3;
    const early = await device("/dev/sda", "multi-a", { writeTime: 5n, version });
    const late = await device("/dev/sdb", "multi-b", { writeTime: 6n, version });
    expect(viewFilesystem([early, late]).newest.path).toBe("/dev/sdb");
    expect(viewFilesystem([early, late]).missing).toEqual([]);
  });

  test("equal sequence numbers and different write times are a split brain: the older one is left out", async () => {
    const early = await device("/dev/sda", "multi-a", { writeTime: 5n });
    const late = await device("/dev/sdb", "multi-b", { writeTime: 6n });
    const view = viewFilesystem([early, late]);
    expect(paths(view.devices)).toEqual(["/dev/sdb"]);
    expect(view.notes[0]).toMatch(/^\/dev\/sda is left out: split brain/);
    expect(view.missing.map(({ index }) => index)).toEqual([0]);
  });

  test("a member newer than the newest knows of is a split brain", async () => {
    const newest = await device("/dev/sdb", "stale-b");
    const members = believing(newest.superblock.members, 0, { sequence: 17n });
    const knowing = { ...newest, superblock: { ...newest.superblock, members } };
    const view = viewFilesystem([await device("/dev/sda", "stale-a"), knowing]);
    expect(view.notes[0]).toContain("sequence 18, known there: 17");
    expect(paths(view.devices)).toEqual(["/dev/sdb"]);
  });

  test("one member by two paths: one is taken, and the note names both", async () => {
    const raw = await device("/dev/sda", "default");
    const mapped = await device("/dev/dm-3", "default");
    const view = viewFilesystem([raw, mapped]);
    expect(paths(view.devices)).toEqual(["/dev/dm-3"]);
    expect(view.notes).toEqual([
      "/dev/sda is left out: it is the same member (slot 0) as /dev/dm-3, by another path or a copy",
    ]);
  });

  test("of a disk and the device built on it, the latter is taken", async () => {
    const raw = { ...(await device("/dev/dm-0", "default")), isHeld: true };
    const built = await device("/dev/md0", "default");
    expect(paths(viewFilesystem([raw, built]).devices)).toEqual(["/dev/md0"]);
  });

  test("a copy with an older superblock is not preferred to the original", async () => {
    const original = await device("/dev/sdb", "changed");
    const copy = await device("/dev/sda", "changed", { sequence: 3n });
    expect(paths(viewFilesystem([copy, original]).devices)).toEqual(["/dev/sdb"]);
  });

  test("a device that was removed is left out, also when its slot was given away", async () => {
    const newest = await device("/dev/sdb", "stale-b");
    const old = await device("/dev/sda", "stale-a");
    const without = newest.superblock.members.filter(({ index }) => index !== 0);
    const gone = viewFilesystem([old, { ...newest, superblock: { ...newest.superblock, members: without } }]);
    expect([paths(gone.devices), gone.missing]).toEqual([["/dev/sdb"], []]);
    expect(gone.notes[0]).toContain("it was removed from the file system");

    const other = believing(newest.superblock.members, 0, { uuid: "11111111-1111-1111-1111-111111111111" });
    const replaced = viewFilesystem([old, { ...newest, superblock: { ...newest.superblock, members: other } }]);
    expect(paths(replaced.devices)).toEqual(["/dev/sdb"]);
    expect(replaced.missing.map(({ index }) => index)).toEqual([0]);
  });

  test("a missing member's last name is told where the table has it", () => {
    const member: Member = { index: 2, uuid: "u", state: "rw", sequence: 0n, lastName: "sdc1" };
    expect(memberText(member)).toBe("slot 2 (member u, last seen as sdc1)");
  });
});
