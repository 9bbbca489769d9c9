import { describe, expect, test } from "bun:test";
import type { VolumePlan } from "../../../../src/config/plan.ts";
import { LuksSearch } from "../../../../src/providers/luks/find.ts";
import type { BlockDevice } from "../../../../src/system/block-devices.ts";
import { asLatchkeyError, LatchkeyError } from "../../../../src/system/errors.ts";
import { HandClock, settle } from "../../unlock/fakes.ts";
import { contextOf, FakeDevices, withoutSize } from "../bcachefs/fake-machine.ts";
import { edited, headerBytes, uuidOf } from "./fixtures.ts";
import { luksVolumeOf } from "./machine.ts";

/** Of which some are held by a mapping or an array. */
class HeldDevices extends FakeDevices {
  readonly held = new Set<string>();

  override async list(): Promise<readonly BlockDevice[]> {
    return (await super.list()).map(({ path }) => ({ path, isHeld: this.held.has(path) }));
  }
}

const nothing = new Uint8Array(65536);
const pbkdf2 = headerBytes("pbkdf2");
const byUuid = luksVolumeOf("root", `UUID=${uuidOf.pbkdf2}`);

function scene() {
  const devices = new HeldDevices();
  const clock = new HandClock();
  const context = contextOf({ deviceTimeout: 1000 });
  /** What comes of it once the limit has passed. */
  const run = async (volume: VolumePlan): Promise<string> => {
    const ended = new LuksSearch(volume, context, devices, clock).run().then(
      ({ device, header }) => `${device} ${header?.uuid ?? "without LUKS"}`,
      (thrown: unknown) => `${asLatchkeyError(thrown).code}: ${asLatchkeyError(thrown).message}`,
    );
    await clock.advance(10_000);
    return await ended;
  };
  return { devices, clock, context, run };
}

describe("a volume named by its UUID", () => {
  test("is where udev's link leads, without a look at anything else", async () => {
    const { devices, run } = scene();
    devices.add("/dev/vda", nothing);
    devices.add("/dev/vda2", pbkdf2, `UUID=${uuidOf.pbkdf2}`);
    expect(await run(byUuid)).toBe(`/dev/vda2 ${uuidOf.pbkdf2}`);
    expect([...new Set(devices.opened)]).toEqual(["/dev/vda2"]);
  });

  test("is found without a link", async () => {
    const { devices, run } = scene();
    devices.add("/dev/vda", nothing);
    devices.add("/dev/vda2", headerBytes("luks1"));
    devices.add("/dev/vda3", pbkdf2);
    expect(await run(byUuid)).toBe(`/dev/vda3 ${uuidOf.pbkdf2}`);
  });

  test("is not what a stale link leads to", async () => {
    const { devices, run } = scene();
    devices.add("/dev/vda2", headerBytes("luks1"), `UUID=${uuidOf.pbkdf2}`);
    devices.add("/dev/vdb1", pbkdf2);
    expect(await run(byUuid)).toBe(`/dev/vdb1 ${uuidOf.pbkdf2}`);
  });

  test("is not another LUKS volume that was put in its place", async () => {
    const { devices, run } = scene();
    devices.add("/dev/vda2", headerBytes("luks1"), `UUID=${uuidOf.pbkdf2}`);
    expect(await run(byUuid)).toBe(
      `luks/other-volume: root: /dev/vda2 is LUKS ${uuidOf.luks1}, not ${uuidOf.pbkdf2}: refused`,
    );
  });

  test("is not a file system that was given its UUID", async () => {
    const { devices, run } = scene();
    devices.add("/dev/vda2", nothing, `UUID=${uuidOf.pbkdf2}`);
    expect(await run(byUuid)).toBe("/dev/vda2 without LUKS");
  });

  test("is the array when the members of a mirror look like it", async () => {
    const { devices, run } = scene();
    for (const member of ["/dev/vda", "/dev/vdb"]) {
      devices.add(member, pbkdf2);
      devices.held.add(member);
    }
    devices.add("/dev/md0", pbkdf2);
    expect(await run(byUuid)).toBe(`/dev/md0 ${uuidOf.pbkdf2}`);
  });

  test("a member of a mirror that does not run yet is not opened in its stead", async () => {
    const { devices, context, run } = scene();
    const member = new Uint8Array(1024 * 1024);
    member.set(pbkdf2);
    // Metadata 1.0: 8 KiB before the end.
    member.set([0xfc, 0x4e, 0x2b, 0xa9, 1, 0, 0, 0], member.length - 8192);
    devices.add("/dev/vda", member);
    expect(await run(byUuid)).toStartWith("luks/device-missing: root: ");
    devices.links.set(`UUID=${uuidOf.pbkdf2}`, "/dev/vda");
    expect(await run(byUuid)).toStartWith("luks/device-missing: root: ");
    expect(context.notes.at(-1)).toBe("/dev/vda is a member of a RAID array, which does not run");
  });

  test("that is damaged beyond recognition is perhaps the one that is missing", async () => {
    const { devices, context, run } = scene();
    const broken = headerBytes("pbkdf2");
    broken[4100] = 0;
    broken[0x4000 + 4100] = 0;
    devices.add("/dev/vda2", broken);
    expect(await run(byUuid)).toStartWith("luks/device-missing: root: ");
    expect(context.notes.at(-1)).toStartWith("/dev/vda2: both copies of its LUKS2 header are damaged");
  });

  test("is neither of two copies, unless udev has chosen", async () => {
    const { devices, run } = scene();
    devices.add("/dev/vda2", pbkdf2);
    devices.add("/dev/vdb2", pbkdf2);
    expect(await run(byUuid)).toBe(
      `luks/ambiguous: root: UUID=${uuidOf.pbkdf2} names 2 different LUKS volumes: /dev/vda2, /dev/vdb2`,
    );
    devices.links.set(`UUID=${uuidOf.pbkdf2}`, "/dev/vdb2");
    expect(await run(byUuid)).toBe(`/dev/vdb2 ${uuidOf.pbkdf2}`);
  });
});

describe("a volume named otherwise", () => {
  test("by path is what is there", async () => {
    const { devices, run } = scene();
    devices.add("/dev/vda2", headerBytes("luks1"));
    expect(await run(luksVolumeOf("root", "/dev/vda2"))).toBe(`/dev/vda2 ${uuidOf.luks1}`);
  });

  test("by path and UUID is both, or refused", async () => {
    const { devices, run } = scene();
    devices.add("/dev/vda2", headerBytes("luks1"));
    const volume = luksVolumeOf("root", "/dev/vda2");
    const both = (uuid: string): VolumePlan => ({
      ...volume,
      devices: [...volume.devices, { by: "tag", tag: "UUID", value: uuid }],
    });
    expect(await run(both(uuidOf.luks1))).toBe(`/dev/vda2 ${uuidOf.luks1}`);
    expect(await run(both(uuidOf.pbkdf2))).toStartWith("luks/other-volume: root: /dev/vda2 is LUKS");
  });

  test("by PARTUUID is where the link leads", async () => {
    const { devices, run } = scene();
    devices.add("/dev/vda2", headerBytes("luks1"), "PARTUUID=abc-02");
    expect(await run(luksVolumeOf("root", "PARTUUID=abc-02"))).toBe(`/dev/vda2 ${uuidOf.luks1}`);
  });

  test("by a label is the one that bears it, and none of two", async () => {
    const { devices, run } = scene();
    const argon = headerBytes("argon2id");
    devices.add("/dev/vda2", argon, "LABEL=data");
    const volume = luksVolumeOf("root", "LABEL=data");
    expect(await run(volume)).toBe(`/dev/vda2 ${uuidOf.argon2id}`);
    devices.add("/dev/vdb2", edited(argon, { binary: (view) => view.setUint8(168 + 35, 0x39) }));
    expect(await run(volume)).toStartWith("luks/ambiguous: root: LABEL=data names 2 different LUKS volumes");
  });

  test("by a label is not the file system that bears it", async () => {
    const { devices, run } = scene();
    devices.add("/dev/vda2", nothing, "LABEL=data");
    expect(await run(luksVolumeOf("root", "LABEL=data"))).toBe("/dev/vda2 without LUKS");
    devices.add("/dev/vdb2", headerBytes("argon2id"));
    expect(await run(luksVolumeOf("root", "LABEL=data"))).toBe(`/dev/vdb2 ${uuidOf.argon2id}`);
  });
});

describe("a detached header", () => {
  const volume = luksVolumeOf("data", "/dev/vdb", { header: `LABEL=keys` });

  test("is what tells the volume, and its UUID may be stated", async () => {
    const { devices, run } = scene();
    devices.add("/dev/vdb", nothing);
    devices.add("/dev/vdc1", headerBytes("detached"), "LABEL=keys");
    expect(await run(volume)).toBe(`/dev/vdb ${uuidOf.detached}`);
    const stated = luksVolumeOf("data", "/dev/vdb", { header: "LABEL=keys", uuid: uuidOf.luks1 });
    expect(await run(stated)).toBe(
      `luks/other-volume: data: /dev/vdc1 is LUKS ${uuidOf.detached}, not ${uuidOf.luks1}: refused`,
    );
  });

  test("that is missing, or no header, is named", async () => {
    const { devices, run } = scene();
    devices.add("/dev/vdb", nothing);
    expect(await run(volume)).toBe("luks/device-missing: data: its header LABEL=keys did not appear within 1 s");
    devices.add("/dev/vdc1", nothing, "LABEL=keys");
    expect(await run(volume)).toBe("luks/header-damaged: data: /dev/vdc1 holds no LUKS header");
    devices.add("/dev/vdc1", headerBytes("detached"), "LABEL=keys");
    devices.nodes.delete("/dev/vdb");
    expect(await run(volume)).toBe("luks/device-missing: data: /dev/vdb did not appear within 1 s");
  });
});

describe("waiting", () => {
  test("ends when the device comes", async () => {
    const { devices, context, clock } = scene();
    const found = new LuksSearch(byUuid, context, devices, clock).run();
    await settle();
    expect(context.notes).toEqual([`waiting for UUID=${uuidOf.pbkdf2}`]);
    devices.add("/dev/vda2", pbkdf2, `UUID=${uuidOf.pbkdf2}`);
    expect(await found).toMatchObject({ device: "/dev/vda2" });
  });

  test("ends at the limit, which crypttab may set for one volume", async () => {
    expect(await scene().run(byUuid)).toBe(
      `luks/device-missing: root: UUID=${uuidOf.pbkdf2} did not appear within 1 s`,
    );
    expect(await scene().run(luksVolumeOf("root", "/dev/vda2", { deviceTimeout: 5000 }))).toBe(
      "luks/device-missing: root: /dev/vda2 did not appear within 5 s",
    );
  });

  test("is not done by whoever only looks", async () => {
    const { devices, clock } = scene();
    const context = contextOf({ deviceTimeout: 0 });
    const volume = luksVolumeOf("root", "/dev/vda2", { deviceTimeout: 5000 });
    const ended = new LuksSearch(volume, context, devices, clock).run().catch(asLatchkeyError);
    await clock.advance(0);
    expect(await ended).toMatchObject({ message: "root: /dev/vda2 is not there" });
    expect(context.notes).toEqual([]);
  });

  test("ends when the volume is not wanted any longer", async () => {
    const { devices, clock } = scene();
    const over = new AbortController();
    const search = new LuksSearch(byUuid, contextOf({ signal: over.signal }), devices, clock);
    const ended = search.run().catch(asLatchkeyError);
    await settle();
    over.abort();
    expect(await ended).toMatchObject({ code: "unlock/interrupted" });
  });

  test("goes on for a device that cannot be read yet, and names the reason at the limit", async () => {
    const { devices, run } = scene();
    devices.add("/dev/vda2", new LatchkeyError("device/unreadable", "/dev/vda2 cannot be read: EIO"));
    expect(await run(luksVolumeOf("root", "/dev/vda2"))).toBe("device/unreadable: /dev/vda2 cannot be read: EIO");
  });

  test("goes on for the node of an array that does not run yet", async () => {
    const volume = luksVolumeOf("root", "/dev/md0");
    const { devices, context, clock } = scene();
    devices.add("/dev/md0", withoutSize("/dev/md0"));
    const found = new LuksSearch(volume, context, devices, clock).run();
    await settle();
    expect(context.notes).toEqual(["waiting for /dev/md0"]);
    devices.add("/dev/md0", pbkdf2);
    expect(await found).toMatchObject({ device: "/dev/md0", header: { uuid: uuidOf.pbkdf2 } });
    const never = scene();
    never.devices.add("/dev/md0", withoutSize("/dev/md0"));
    expect(await never.run(volume)).toBe("device/missing: /dev/md0 has no size yet");
  });

  test("goes on for such a node whose header is elsewhere", async () => {
    const volume = luksVolumeOf("data", "/dev/md0", { header: "/boot/data.header" });
    const { devices, context, clock } = scene();
    devices.add("/boot/data.header", headerBytes("detached"));
    devices.add("/dev/md0", withoutSize("/dev/md0"));
    const found = new LuksSearch(volume, context, devices, clock).run();
    await settle();
    expect(context.notes).toEqual(["waiting for /dev/md0"]);
    devices.add("/dev/md0", nothing);
    expect(await found).toMatchObject({ device: "/dev/md0", header: { uuid: uuidOf.detached } });
  });

  test("a dying disk holds up neither the others nor the boot", async () => {
    const { devices, run } = scene();
    devices.add("/dev/vda", "dying");
    devices.add("/dev/vdb", pbkdf2);
    expect(await run(byUuid)).toBe(`/dev/vdb ${uuidOf.pbkdf2}`);
    const alone = scene();
    alone.devices.add("/dev/vda", "dying");
    const volume = luksVolumeOf("root", "/dev/vda", { deviceTimeout: 9000 });
    expect(await alone.run(volume)).toStartWith("device/no-answer: /dev/vda did not answer within 5 s");
  });

  test("whoever may not read the disks is told so at once", async () => {
    const { devices, run } = scene();
    const denied = new LatchkeyError("device/permission-denied", "/dev/vda may not be read by this user");
    devices.add("/dev/vda", denied);
    expect(await run(byUuid)).toBe("device/permission-denied: /dev/vda may not be read by this user");
  });
});
