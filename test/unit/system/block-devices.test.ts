import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  chmodSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { referenceText, SystemBlockDevices } from "../../../src/system/block-devices.ts";
import type { DeviceReference, DeviceTag } from "../../../src/system/device-names.ts";
import { LatchkeyError } from "../../../src/system/errors.ts";

let root: string;
let dev: string;
let sys: string;
let devices: SystemBlockDevices;

beforeEach(() => {
  root = realpathSync(mkdtempSync(join(tmpdir(), "latchkey-devices-")));
  dev = join(root, "dev");
  sys = join(root, "sys");
  mkdirSync(dev);
  mkdirSync(join(sys, "class/block"), { recursive: true });
  devices = new SystemBlockDevices({ dev, sys });
});

afterEach(() => {
  rmSync(root, { recursive: true });
});

function link(folder: string, name: string, target: string): void {
  mkdirSync(join(dev, "disk", folder), { recursive: true });
  symlinkSync(`../../${target}`, join(dev, "disk", folder, name));
}

function kernelKnows(name: string, facts: Readonly<Record<string, string>>, holders: readonly string[] = []): void {
  mkdirSync(join(sys, "class/block", name, "holders"), { recursive: true });
  for (const [fact, value] of Object.entries(facts)) writeFileSync(join(sys, "class/block", name, fact), `${value}\n`);
  for (const holder of holders) mkdirSync(join(sys, "class/block", name, "holders", holder));
}

const tagged = (tag: DeviceTag, value: string): DeviceReference => ({ by: "tag", tag, value });
const at = (path: string): DeviceReference => ({ by: "path", path });

const loop = "/dev/loop0";

function canOpen(path: string): boolean {
  try {
    closeSync(openSync(path, "r"));
    return true;
  } catch {
    return false;
  }
}

async function codeOf(attempt: Promise<unknown>): Promise<string> {
  try {
    await attempt;
  } catch (thrown) {
    if (thrown instanceof LatchkeyError) return thrown.code;
    throw thrown;
  }
  return "no error";
}

describe("resolving references", () => {
  test.each([
    ["UUID", "4F2A-99C1", "by-uuid", "4F2A-99C1"],
    ["UUID", "566DE22A-5470-4A0F-8FBB-28EF597F1B27", "by-uuid", "566de22a-5470-4a0f-8fbb-28ef597f1b27"],
    ["UUID", "4f2a-99c1", "by-uuid", "4F2A-99C1"],
    ["LABEL", "my data/1", "by-label", "my\\x20data\\x2f1"],
    ["LABEL", "Größe", "by-label", "Größe"],
    ["PARTLABEL", "EFI system partition", "by-partlabel", "EFI\\x20system\\x20partition"],
    ["PARTUUID", "ABCD-01", "by-partuuid", "abcd-01"],
    ["ID", "usb-Kingston_DT-0:0-part1", "by-id", "usb-Kingston_DT-0:0-part1"],
  ] as const)("%s=%s is found by udev's link", async (tag, value, folder, name) => {
    writeFileSync(join(dev, "sdb1"), "");
    link(folder, name, "sdb1");
    expect(await devices.resolve(tagged(tag, value))).toBe(join(dev, "sdb1"));
  });

  test("what is not there is undefined, not an error", async () => {
    expect(await devices.resolve(tagged("UUID", "0000"))).toBeUndefined();
    expect(await devices.resolve(at(join(dev, "sdx")))).toBeUndefined();
    link("by-uuid", "dangling", "sdx");
    expect(await devices.resolve(tagged("UUID", "dangling"))).toBeUndefined();
  });

  test("labels differ by case, UUIDs do not", async () => {
    writeFileSync(join(dev, "sdb1"), "");
    link("by-label", "Root", "sdb1");
    expect(await devices.resolve(tagged("LABEL", "root"))).toBeUndefined();
  });

  test.each(["", ".", "..", "../../../etc/passwd", "/etc/passwd"])("the value %p leads nowhere else", async (value) => {
    mkdirSync(join(dev, "disk/by-label"), { recursive: true });
    expect(await devices.resolve(tagged("LABEL", value))).toBeUndefined();
  });

  test("a path with symbolic links gives the node", async () => {
    writeFileSync(join(dev, "dm-0"), "");
    mkdirSync(join(dev, "mapper"));
    symlinkSync("../dm-0", join(dev, "mapper/root"));
    expect(await devices.resolve(at(join(dev, "mapper/root")))).toBe(join(dev, "dm-0"));
  });

  test("references read as their owner wrote them", () => {
    expect([tagged("UUID", "6e8c"), at("/dev/sda")].map(referenceText)).toEqual(["UUID=6e8c", "/dev/sda"]);
  });
});

describe("listing", () => {
  test("what could hold a file system, with what is built on it", async () => {
    kernelKnows("sda", { size: "2048" });
    kernelKnows("sda1", { size: "1024" }, ["dm-0"]);
    kernelKnows("dm-0", { size: "1024" });
    kernelKnows("loop0", { size: "0" });
    kernelKnows("sdb", { size: "127" });
    kernelKnows("ram0", { size: "8192" });
    kernelKnows("zram0", { size: "8192" });
    kernelKnows("fd0", { size: "2880" });
    kernelKnows("nvme0c0n1", { size: "8192", hidden: "1" });
    kernelKnows("cciss!c0d0", { size: "8192", hidden: "0" });
    expect(await devices.list()).toEqual([
      { path: join(dev, "cciss/c0d0"), isHeld: false },
      { path: join(dev, "dm-0"), isHeld: false },
      { path: join(dev, "sda"), isHeld: false },
      { path: join(dev, "sda1"), isHeld: true },
    ]);
  });

  test("without /sys there is nothing to list", async () => {
    expect(await new SystemBlockDevices({ dev, sys: "/nowhere" }).list()).toEqual([]);
  });
});

describe("opening", () => {
  test("an image file is read where asked, and no further than it goes", async () => {
    writeFileSync(
      join(dev, "image"),
      Uint8Array.from({ length: 1000 }, (_, index) => index % 251),
    );
    await using reader = await devices.open(join(dev, "image"));
    expect(reader.size).toBe(1000);
    expect([...(await reader.readAt(500, 3))]).toEqual([249, 250, 0]);
    expect((await reader.readAt(990, 4096)).length).toBe(10);
    expect((await reader.readAt(5000, 10)).length).toBe(0);
    expect((await reader.readAt(0, 2 ** 40)).length).toBe(1000);
  });

  test.skipIf(!canOpen(loop))(
    "a node of no size is missing until it has one (needs root and a loop device)",
    async () => {
      const { rdev } = statSync(loop);
      const facts = join(sys, "dev/block", `${rdev >> 8}:${rdev & 0xff}`);
      mkdirSync(facts, { recursive: true });
      writeFileSync(join(facts, "size"), "0\n");
      expect(await codeOf(devices.open(loop))).toBe("device/missing");
      writeFileSync(join(facts, "size"), "2048\n");
      await using reader = await devices.open(loop);
      expect(reader.size).toBe(2048 * 512);
    },
  );

  test("each wrong thing has its own error", async () => {
    const fifo = join(root, "fifo");
    Bun.spawnSync(["mkfifo", fifo]);
    const answers = await Promise.all(
      [root, "/dev/null", fifo, join(dev, "none"), `${join(dev, "none")}/x`].map((path) => codeOf(devices.open(path))),
    );
    expect(answers).toEqual([
      "device/is-directory",
      "device/not-a-disk",
      "device/not-a-disk",
      "device/missing",
      "device/missing",
    ]);
  });

  test.skipIf(process.getuid?.() === 0)("what this user may not read says so", async () => {
    writeFileSync(join(dev, "secret"), "x");
    chmodSync(join(dev, "secret"), 0);
    expect(await codeOf(devices.open(join(dev, "secret")))).toBe("device/permission-denied");
  });

  test("a device that vanished while it was open gives an error of ours", async () => {
    writeFileSync(join(dev, "image"), new Uint8Array(100));
    const reader = await devices.open(join(dev, "image"));
    await reader[Symbol.asyncDispose]();
    expect(await codeOf(reader.readAt(0, 10))).toBe("device/unreadable");
  });
});

describe("watching", () => {
  /** Milliseconds until the watch tells of something, after `act`. */
  async function noticed(act: () => void): Promise<number> {
    const over = new AbortController();
    const changes = devices.changes(over.signal)[Symbol.asyncIterator]();
    try {
      const next = changes.next();
      await Bun.sleep(20);
      const start = performance.now();
      act();
      expect((await next).done).toBe(false);
      return performance.now() - start;
    } finally {
      over.abort();
      expect((await changes.next()).done).toBe(true);
    }
  }

  test("a new node is told at once", async () => {
    expect(await noticed(() => writeFileSync(join(dev, "sda"), ""))).toBeLessThan(990);
  });

  test("a new link is told at once", async () => {
    writeFileSync(join(dev, "sda"), "");
    link("by-uuid", "one", "sda");
    expect(await noticed(() => link("by-uuid", "two", "sda"))).toBeLessThan(990);
  });

  test("a link in a folder that did not exist is told", async () => {
    expect(await noticed(() => link("by-uuid", "one", "sda"))).toBeLessThan(990);
  });

  test("without any change, or without /dev, there is a heartbeat", async () => {
    devices = new SystemBlockDevices({ dev: "/nowhere", sys });
    const after = await noticed(() => undefined);
    expect(after).toBeGreaterThan(500);
    expect(after).toBeLessThan(5000);
  });

  test("many changes at once are told few times: nobody looks in a tight loop", async () => {
    const over = new AbortController();
    let told = 0;
    const counting = (async () => {
      for await (const _ of devices.changes(over.signal)) told += 1;
    })();
    const end = performance.now() + 600;
    for (let name = 0; performance.now() < end; name++) {
      writeFileSync(join(dev, `sd${name}`), "");
      await Bun.sleep(1);
    }
    over.abort();
    await counting;
    expect(told).toBeGreaterThan(0);
    expect(told).toBeLessThanOrEqual(13);
  });

  test("writes to nodes are no news", async () => {
    writeFileSync(join(dev, "null"), "");
    const over = new AbortController();
    let told = 0;
    const counting = (async () => {
      for await (const _ of devices.changes(over.signal)) told += 1;
    })();
    await Bun.sleep(20);
    for (let count = 0; count < 20; count++) {
      writeFileSync(join(dev, "null"), "x");
      await Bun.sleep(10);
    }
    over.abort();
    await counting;
    expect(told).toBe(0);
  });
});
