import { describe, expect, test } from "bun:test";
import type { KeyFormat, UsbPlan } from "../../../../src/config/plan.ts";
import { StickWatch } from "../../../../src/sources/usb/stick-watch.ts";
import { UsbSource } from "../../../../src/sources/usb/usb-source.ts";
import { LatchkeyError } from "../../../../src/system/errors.ts";
import { HandClock, settle } from "../../unlock/fakes.ts";
import { FakeHeart, FakePorts, KEY, sha256Of, stickPlan } from "./fakes.ts";

class Scene {
  readonly ports = new FakePorts();
  readonly clock = new HandClock();
  readonly watch = new StickWatch(this.ports, this.ports);

  /** A source that runs, what it is told and what it says. */
  start(plan: Partial<UsbPlan> = {}, volumes: readonly string[] = ["root"], format: KeyFormat = "raw") {
    const heart = new FakeHeart();
    const source = new UsbSource({
      stick: stickPlan(plan),
      format,
      volumes,
      watch: this.watch,
      sticks: this.ports,
      reader: this.ports,
      clock: this.clock,
    });
    let isOver = false;
    const end = source.run(heart).finally(() => {
      isOver = true;
    });
    return { heart, source, end, isOver: () => isOver };
  }
}

const right = { uuid: "4F2A-99C1", files: { "root.key": KEY } };

describe("the right stick", () => {
  test("that is in already opens the volumes", async () => {
    const scene = new Scene();
    scene.ports.plug("/dev/sdb1", right);
    const { heart, source, end } = scene.start({}, ["root", "data"]);
    await end;
    expect(source.name).toBe("usb stick 4F2A-99C1");
    expect(heart.offered).toEqual([{ text: KEY, volumes: ["root", "data"] }]);
    expect(heart.reasons).toEqual([]);
  });

  test("is known by its UUID in either case, and by nothing else", async () => {
    const scene = new Scene();
    scene.ports.plug("/dev/sdb1", right);
    const { heart, end } = scene.start({ place: { by: "filesystem", uuid: "4f2a-99c1", path: "root.key" } });
    await end;
    expect(heart.offered).toHaveLength(1);
  });

  test("that comes after its time limit is taken all the same, and until then counts as absent", async () => {
    const scene = new Scene();
    const { heart, end, isOver } = scene.start();
    await scene.clock.advance(9_999);
    expect(heart.reasons).toEqual([]);
    await scene.clock.advance(1);
    expect(heart.reasons).toEqual(["usb/absent: root: usb stick 4F2A-99C1: not there after 10 s"]);
    await scene.clock.advance(60_000);
    expect(isOver()).toBe(false);
    scene.ports.plug("/dev/sdb1", right);
    await end;
    expect(heart.offered).toHaveLength(1);
    expect(heart.reasons).toHaveLength(1);
  });

  test("is read once, although two sources watch and devices come and go", async () => {
    const scene = new Scene();
    const one = scene.start();
    const other = scene.start({ place: { by: "filesystem", uuid: "0000-0001", path: "root.key" } });
    await settle();
    scene.ports.plug("/dev/sda1", { uuid: "AAAA-AAAA" });
    await settle();
    scene.ports.plug("/dev/sdb1", right);
    await one.end;
    scene.ports.plug("/dev/sdc1", { uuid: "CCCC-CCCC" });
    await settle();
    expect(scene.ports.log).toEqual([
      "identify /dev/sda1",
      "identify /dev/sdb1",
      "read /dev/sdb1 vfat:root.key",
      "identify /dev/sdc1",
    ]);
    expect(other.heart.offered).toEqual([]);
    other.heart.abort();
    await other.end;
  });

  test("is decoded as its format says", async () => {
    const scene = new Scene();
    const hex = `${Buffer.from(KEY).toString("hex")}\n`;
    scene.ports.plug("/dev/sdb1", { ...right, files: { "root.key": hex } });
    const { heart, end } = scene.start({ sha256: sha256Of(hex) }, ["root"], "hex");
    await end;
    expect(heart.offered[0]?.text).toBe(KEY);
  });

  test("may be a bare partition, known by the table of its disk", async () => {
    const scene = new Scene();
    scene.ports.plug("/dev/sdb1", { partition: "1a2b3c4d-01", files: { raw: KEY } });
    const place = { by: "partition", partuuid: "1A2B3C4D-01", offset: 512, size: 20 } as const;
    const { heart, source, end } = scene.start({ place });
    await end;
    expect(source.name).toBe("usb stick 1A2B3C4D-01");
    expect(scene.ports.log).toEqual(["identify /dev/sdb1", "read /dev/sdb1 512+20"]);
    expect(heart.offered).toHaveLength(1);
  });
});

describe("a stick that will not do is named at once, and another one still wins", () => {
  const cases: readonly (readonly [string, Parameters<FakePorts["plug"]>[1], string])[] = [
    [
      "another key file",
      { ...right, files: { "root.key": "something else" } },
      "usb/checksum-mismatch: root: usb stick 4F2A-99C1: root.key on /dev/sdb1 is not the key file of the configuration: its SHA-256 differs",
    ],
    [
      "no key file",
      { ...right, files: {} },
      "key-file/missing: root: usb stick 4F2A-99C1: there is no vfat:root.key on /dev/sdb1",
    ],
    [
      "a filesystem that cannot be mounted",
      {
        ...right,
        files: {
          "root.key": new LatchkeyError("key-file/mount-failed", "the vfat on /dev/sdb1 cannot be mounted (EINVAL)"),
        },
      },
      "key-file/mount-failed: root: usb stick 4F2A-99C1: the vfat on /dev/sdb1 cannot be mounted (EINVAL)",
    ],
    [
      "traces of two filesystems",
      { ...right, also: [{ type: "iso9660", uuid: "2026-01-01-00-00-00-00" }] },
      "usb/ambiguous: root: usb stick 4F2A-99C1: /dev/sdb1 has traces of vfat and iso9660, and which it is cannot be told",
    ],
  ];
  test.each(cases)("%s", async (_, content, reason) => {
    const scene = new Scene();
    const { heart, end } = scene.start();
    await settle();
    scene.ports.plug("/dev/sdb1", content);
    await settle();
    expect(heart.reasons).toEqual([reason]);
    expect(heart.offered).toEqual([]);
    // It is not tried again while it stays in, and it is not absent either.
    scene.ports.plug("/dev/sdx1", { uuid: "0000-0001" });
    await scene.clock.advance(20_000);
    expect(heart.reasons).toHaveLength(1);
    scene.ports.plug("/dev/sdc1", right);
    await end;
    expect(heart.offered).toHaveLength(1);
  });

  test("the same stick, put in anew, is looked at anew", async () => {
    const scene = new Scene();
    const { heart, end } = scene.start();
    scene.ports.plug("/dev/sdb1", { ...right, files: {} });
    await settle();
    scene.ports.pull("/dev/sdb1");
    await settle();
    scene.ports.plug("/dev/sdb1", right);
    await end;
    expect(heart.reasons).toHaveLength(1);
    expect(heart.offered).toHaveLength(1);
  });
});

describe("a stick of another name", () => {
  test("is not read, whatever file is on it", async () => {
    const scene = new Scene();
    scene.ports.plug("/dev/sdb1", { ...right, uuid: "4F2A-99C2" });
    scene.ports.plug("/dev/sdc1", { files: { "root.key": KEY } });
    const { heart, end } = scene.start();
    await scene.clock.advance(10_000);
    expect(heart.reasons[0]).toStartWith("usb/absent: ");
    expect(scene.ports.log).toEqual(["identify /dev/sdb1", "identify /dev/sdc1"]);
    heart.abort();
    await end;
  });

  test("that cannot be looked at is noted, and no failure of this source", async () => {
    const scene = new Scene();
    scene.ports.plug("/dev/sdb", {
      unreadable: new LatchkeyError("device/unreadable", "/dev/sdb has no medium in it"),
    });
    const { heart, end } = scene.start();
    await settle();
    expect(heart.notes).toEqual(["/dev/sdb is no stick that can be read: /dev/sdb has no medium in it"]);
    expect(heart.reasons).toEqual([]);
    heart.abort();
    await end;
  });
});

test("a stick that is there and does not answer is not called absent", async () => {
  const scene = new Scene();
  scene.ports.identify = () => new Promise(() => undefined);
  scene.ports.plug("/dev/sdb1", right);
  scene.ports.links = { "4F2A-99C1": "/dev/sdb1" };
  const { heart, end } = scene.start();
  await scene.clock.advance(10_000);
  expect(heart.reasons).toEqual([
    "usb/absent: root: usb stick 4F2A-99C1: on /dev/sdb1, which has not answered after 10 s",
  ]);
  heart.abort();
  await end;
});

describe("a disk that is neither removable nor on a USB bus", () => {
  test("is not even looked at; the reason is told in place of an absence", async () => {
    const scene = new Scene();
    scene.ports.plug("/dev/mmcblk0p1", right, false);
    scene.ports.links = { "4F2A-99C1": "/dev/mmcblk0p1" };
    const { heart, end } = scene.start();
    await scene.clock.advance(10_000);
    expect(scene.ports.log).toEqual([]);
    expect(heart.reasons).toEqual([
      "usb/wrong-bus: root: usb stick 4F2A-99C1: /dev/mmcblk0p1 has its UUID, but is neither removable nor on a USB bus",
    ]);
    expect(heart.notYet[0]?.hint).toContain("any_bus = true");
    heart.abort();
    await end;
  });

  test("will do with any_bus, for that source alone", async () => {
    const scene = new Scene();
    scene.ports.plug("/dev/mmcblk0p1", right, false);
    const strict = scene.start();
    const lenient = scene.start({ anyBus: true });
    await lenient.end;
    expect(lenient.heart.offered).toHaveLength(1);
    expect(strict.heart.offered).toEqual([]);
    strict.heart.abort();
    await strict.end;
  });
});

describe("a stick that is pulled out", () => {
  test("while it is read is an error with that name, at once", async () => {
    const scene = new Scene();
    scene.ports.plug("/dev/sdb1", { ...right, files: { "root.key": "hangs" } });
    const { heart, end } = scene.start();
    await settle();
    scene.ports.pull("/dev/sdb1");
    await settle();
    expect(heart.reasons).toEqual([
      "usb/pulled: root: usb stick 4F2A-99C1: /dev/sdb1 was pulled out while it was being read; put it in again",
    ]);
    scene.ports.plug("/dev/sdb1", right);
    await end;
    expect(heart.offered).toHaveLength(1);
  });

  test("is told from one that cannot be read, also when the kernel's error comes first", async () => {
    const scene = new Scene();
    const error = new LatchkeyError("key-file/unreadable", "root.key on /dev/sdb1 cannot be read (EIO)");
    scene.ports.plug("/dev/sdb1", { ...right, files: { "root.key": error } });
    const read = scene.ports.read.bind(scene.ports);
    scene.ports.read = async (...about) => {
      const result = read(...about);
      scene.ports.pull("/dev/sdb1");
      return await result;
    };
    const { heart, end } = scene.start();
    await settle();
    expect(heart.notYet[0]?.code).toBe("usb/pulled");
    heart.abort();
    await end;
  });
});

test("a source that is no longer wanted ends at once, and keeps nothing", async () => {
  const scene = new Scene();
  scene.ports.plug("/dev/sdb1", { ...right, files: { "root.key": "hangs" } });
  const { heart, end } = scene.start();
  await settle();
  heart.abort();
  await end;
  expect(heart.reasons).toEqual([]);
  expect(heart.offered).toEqual([]);
});

test("a key with the wrong checksum is wiped unoffered", async () => {
  const scene = new Scene();
  scene.ports.plug("/dev/sdb1", { ...right, files: { "root.key": "something else" } });
  const kept: { readonly isDisposed: boolean }[] = [];
  const read = scene.ports.read.bind(scene.ports);
  scene.ports.read = async (...about) => {
    const secret = await read(...about);
    kept.push(secret);
    return secret;
  };
  const { heart, end } = scene.start();
  await settle();
  expect(kept.map(({ isDisposed }) => isDisposed)).toEqual([true]);
  heart.abort();
  await end;
});
