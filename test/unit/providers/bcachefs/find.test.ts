import { describe, expect, test } from "bun:test";
import { FilesystemSearch } from "../../../../src/providers/bcachefs/find.ts";
import type { FilesystemView } from "../../../../src/providers/bcachefs/members.ts";
import type { Clock } from "../../../../src/system/clock.ts";
import { monotonicClock } from "../../../../src/system/clock.ts";
import { LatchkeyError } from "../../../../src/system/errors.ts";
import { contextOf, FakeDevices, type FoundContext, volumeOf, withoutSize } from "./fake-machine.ts";
import { editSuperblocks, failureOf, fixtureBytes, fixtureCase } from "./fixtures.ts";

const head = (name: string): Uint8Array => fixtureBytes(`cases/${name}.bin`);
const single = fixtureCase("default").external_uuid;
const multi = fixtureCase("multi").external_uuid;
const notBcachefs = new Uint8Array(100_000);

/** Limits of seconds pass in milliseconds. */
const fastClock: Clock = {
  now: monotonicClock.now,
  sleep: (milliseconds, signal) => monotonicClock.sleep(milliseconds / 50, signal),
};

function search(
  devices: FakeDevices,
  names: readonly string[],
  context: FoundContext = contextOf(),
): Promise<FilesystemView> {
  return new FilesystemSearch(volumeOf(...names), context, devices, fastClock).run();
}

const paths = (view: FilesystemView): readonly string[] => view.devices.map(({ path }) => path);

describe("finding the first device", () => {
  test("by udev's link, without searching other disks, and every reader is closed", async () => {
    const devices = new FakeDevices();
    devices.add("/dev/sda2", head("default"), `UUID=${single}`);
    expect(paths(await search(devices, [`UUID=${single}`]))).toEqual(["/dev/sda2"]);
    expect(devices.scans).toBe(0);
    expect(devices.readers.some(({ isOpen }) => isOpen)).toBe(false);
  });

  test.each([`UUID=${fixtureCase("label").external_uuid.toUpperCase()}`, "LABEL=latchkey-root"])(
    "%s is found without any link, by reading superblocks",
    async (name) => {
      const devices = new FakeDevices();
      devices.add("/dev/sda", notBcachefs);
      devices.add("/dev/sdb", head("default"));
      devices.add("/dev/sdc", head("label"));
      devices.add("/dev/sdd", new LatchkeyError("device/unreadable", "EIO"));
      expect(paths(await search(devices, [name]))).toEqual(["/dev/sdc"]);
    },
  );

  test("a link to a file system with another UUID is not believed", async () => {
    const devices = new FakeDevices();
    devices.add("/dev/sda", head("changed"), `UUID=${single}`);
    devices.add("/dev/sdb", head("default"));
    expect(paths(await search(devices, [`UUID=${single}`]))).toEqual(["/dev/sdb"]);
  });

  test("one that comes late is waited for, and the wait is told once", async () => {
    const devices = new FakeDevices();
    const context = contextOf({ deviceTimeout: 1_000_000 });
    const found = search(devices, ["/dev/sdb"], context);
    for (let index = 0; index < 3; index++) {
      await Bun.sleep(5);
      devices.add(`/dev/sda${index}`, notBcachefs);
    }
    devices.add("/dev/sdb", head("default"));
    expect(paths(await found)).toEqual(["/dev/sdb"]);
    expect(context.notes).toEqual(["waiting for /dev/sdb"]);
  });

  test("one that never comes is an error that names it and the wait", async () => {
    const failure = await failureOf(
      search(new FakeDevices(), ["UUID=6e8c", "/dev/sdz"], contextOf({ deviceTimeout: 1500 })),
    );
    expect([failure.code, failure.outcome]).toEqual(["bcachefs/device-missing", "unavailable"]);
    expect(failure.message).toBe("root: UUID=6e8c, /dev/sdz did not appear within 1.5 s");
  });

  test.each([
    ["another file system at a path", "/dev/sda", notBcachefs, "bcachefs/not-bcachefs"],
    ["another file system behind a UUID", "UUID=x", notBcachefs, "bcachefs/not-bcachefs"],
    [
      "a damaged superblock at a path",
      "/dev/sda",
      fixtureBytes("damaged/truncated-fields.bin"),
      "bcachefs/superblock-damaged",
    ],
    ["a directory", "/dev/sda", new LatchkeyError("device/is-directory", "x"), "device/is-directory"],
    ["no right to read", "UUID=x", new LatchkeyError("device/permission-denied", "x"), "device/permission-denied"],
  ] as const)("%s is not waited for", async (_, name, content, code) => {
    const devices = new FakeDevices();
    devices.add("/dev/sda", content, "UUID=x");
    const start = performance.now();
    const failure = await failureOf(search(devices, [name], contextOf({ deviceTimeout: 1_000_000 })));
    expect(failure.code).toBe(code);
    expect(performance.now() - start).toBeLessThan(1000);
  });

  test("without the right to read any disk there is no waiting; one that is denied does not end the wait", async () => {
    const denied = new LatchkeyError("device/permission-denied", "/dev/sda may not be read by this user");
    const devices = new FakeDevices();
    devices.add("/dev/sda", denied);
    const forever = contextOf({ deviceTimeout: 1_000_000 });
    expect((await failureOf(search(devices, ["UUID=x"], forever))).code).toBe("device/permission-denied");
    devices.add("/dev/sdb", notBcachefs);
    expect((await failureOf(search(devices, ["UUID=x"]))).code).toBe("bcachefs/device-missing");
  });

  test("an I/O error may pass while the disk spins up; if it does not, it is what is reported", async () => {
    const devices = new FakeDevices();
    devices.add("/dev/sda", new LatchkeyError("device/unreadable", "/dev/sda cannot be read: EIO"));
    expect((await failureOf(search(devices, ["/dev/sda"]))).code).toBe("device/unreadable");
    const found = search(devices, ["/dev/sda"], contextOf({ deviceTimeout: 1_000_000 }));
    await Bun.sleep(5);
    devices.add("/dev/sda", head("default"));
    expect(paths(await found)).toEqual(["/dev/sda"]);
  });

  test("the node of an array that does not run yet is waited for", async () => {
    const devices = new FakeDevices();
    devices.add("/dev/md0", withoutSize("/dev/md0"));
    expect((await failureOf(search(devices, ["/dev/md0"]))).message).toBe("/dev/md0 has no size yet");
    const found = search(devices, ["/dev/md0"], contextOf({ deviceTimeout: 1_000_000 }));
    await Bun.sleep(5);
    devices.add("/dev/md0", head("default"));
    expect(paths(await found)).toEqual(["/dev/md0"]);
  });

  test("a disk that does not answer holds up nobody but itself, and is not asked twice", async () => {
    const devices = new FakeDevices();
    devices.add("/dev/sda", "dying");
    devices.add("/dev/sdb", head("multi-a"));
    const found = search(devices, [`UUID=${multi}`], contextOf({ memberTimeout: 1_000_000 }));
    await Bun.sleep(150);
    devices.add("/dev/sdc", head("multi-b"));
    expect(paths(await found)).toEqual(["/dev/sdb", "/dev/sdc"]);
    expect(devices.opened.filter((path) => path === "/dev/sda").length).toBe(1);
    expect((await failureOf(search(devices, ["/dev/sda"]))).code).toBe("device/no-answer");
  });

  test("two different file systems with one label: neither is used", async () => {
    const devices = new FakeDevices();
    devices.add("/dev/sda", head("label"));
    const other = head("default");
    editSuperblocks(other, [8], ({ bytes }) => bytes.set(new TextEncoder().encode("latchkey-root"), 72));
    devices.add("/dev/sdb", other);
    const failure = await failureOf(search(devices, ["LABEL=latchkey-root"]));
    expect([failure.code, failure.outcome]).toEqual(["bcachefs/ambiguous", "refused"]);
    expect(failure.message).toContain("/dev/sda, /dev/sdb");
  });

  test("the search ends when nobody wants the volume any longer", async () => {
    const controller = new AbortController();
    const found = search(
      new FakeDevices(),
      ["/dev/sda"],
      contextOf({ signal: controller.signal, deviceTimeout: 1_000_000 }),
    );
    await Bun.sleep(5);
    controller.abort();
    expect((await failureOf(found)).code).toBe("unlock/interrupted");
    const before = search(new FakeDevices(), ["/dev/sda"], contextOf({ signal: AbortSignal.abort() }));
    expect((await failureOf(before)).code).toBe("unlock/interrupted");
  });
});

describe("finding all members", () => {
  test("one name is enough: the others are found by the internal UUID on all disks", async () => {
    const devices = new FakeDevices();
    devices.add("/dev/sda", head("multi-b"), `UUID=${multi}`);
    devices.add("/dev/sdb", head("default"));
    devices.add("/dev/sdc", head("multi-a"));
    expect(paths(await search(devices, [`UUID=${multi}`]))).toEqual(["/dev/sdc", "/dev/sda"]);
  });

  test("members named by path are found though no list has them", async () => {
    const devices = new FakeDevices();
    devices.add("/images/a", head("multi-a"));
    devices.add("/images/b", head("multi-b"));
    devices.list = () => Promise.resolve([]);
    expect(paths(await search(devices, ["/images/a", "/images/b"]))).toEqual(["/images/a", "/images/b"]);
  });

  test("a member that comes late is waited for", async () => {
    const devices = new FakeDevices();
    devices.add("/dev/sda", head("multi-a"));
    const context = contextOf({ memberTimeout: 1_000_000 });
    const found = search(devices, ["/dev/sda"], context);
    await Bun.sleep(10);
    devices.add("/dev/sdb", head("multi-b"));
    expect(paths(await found)).toEqual(["/dev/sda", "/dev/sdb"]);
    expect(context.notes[0]).toStartWith("waiting for 1 of 2 members, slot 1 (member 9ec5f992-");
  });

  test("one that never comes is an error that names slot, member and wait, and why a disk was not taken", async () => {
    const devices = new FakeDevices();
    devices.add("/dev/sda", head("multi-a"));
    const broken = head("multi-b");
    broken.fill(0, 4096 + 752);
    devices.add("/dev/sdb", broken);
    const context = contextOf({ memberTimeout: 2000 });
    const failure = await failureOf(search(devices, ["/dev/sda"], context));
    expect([failure.code, failure.outcome]).toEqual(["bcachefs/members-missing", "unavailable"]);
    expect(failure.message).toBe(
      "root: 1 of 2 members, slot 1 (member 9ec5f992-6ed8-4bc1-bc66-1c76cead77ca), did not appear within 2 s",
    );
    expect(context.notes.at(-1)).toContain("no usable bcachefs superblock on /dev/sdb");
  });

  test("where policy allows degraded, the search goes on without it after the same wait, and notes it", async () => {
    const devices = new FakeDevices();
    devices.add("/dev/sda", head("multi-a"));
    const context = contextOf({ allowDegraded: true });
    const view = await search(devices, ["/dev/sda"], context);
    expect([paths(view), view.missing.map(({ index }) => index)]).toEqual([["/dev/sda"], [1]]);
    expect(context.notes.at(-1)).toStartWith("going on degraded: 1 of 2 members");
  });

  test("the newest member decides, whichever was named", async () => {
    const devices = new FakeDevices();
    devices.add("/dev/sda", head("stale-a"));
    devices.add("/dev/sdb", head("stale-b"));
    for (const name of ["/dev/sda", "/dev/sdb"]) {
      expect((await search(devices, [name])).newest.path).toBe("/dev/sdb");
    }
  });

  test("a disk of another file system is not taken for a member", async () => {
    const devices = new FakeDevices();
    devices.add("/dev/sda", head("multi-a"));
    devices.add("/dev/sdb", head("stale-b"));
    expect((await failureOf(search(devices, ["/dev/sda", "/dev/sdb"]))).code).toBe("bcachefs/members-missing");
  });
});
