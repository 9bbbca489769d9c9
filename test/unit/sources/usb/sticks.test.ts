import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, realpathSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { SystemSticks } from "../../../../src/sources/usb/sticks.ts";

let root: string;
let sticks: SystemSticks;

beforeEach(() => {
  root = realpathSync(mkdtempSync(join(tmpdir(), "latchkey-sticks-")));
  mkdirSync(join(root, "dev"));
  mkdirSync(join(root, "sys/class/block"), { recursive: true });
  sticks = new SystemSticks({ dev: join(root, "dev"), sys: join(root, "sys") });
});
afterEach(() => rmSync(root, { recursive: true }));

/** A device as sysfs has it, with a node that any file can stand for. */
function device(path: string, facts: Readonly<Record<string, string>> = {}): void {
  const folder = join(root, "sys/devices", path);
  const name = path.split("/").at(-1) ?? "";
  mkdirSync(join(folder, "holders"), { recursive: true });
  for (const [fact, value] of Object.entries({ size: "8192", ...facts }))
    writeFileSync(join(folder, fact), `${value}\n`);
  symlinkSync(folder, join(root, "sys/class/block", name));
  const node = join(root, "dev", name.replaceAll("!", "/"));
  mkdirSync(dirname(node), { recursive: true });
  writeFileSync(node, "");
}

const USB = "pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0/host6/target6:0:0/6:0:0:0/block/sdb";

const list = async () =>
  (await sticks.list()).map(({ path, isRemovable, partitionOf }) => [
    path.slice(root.length),
    isRemovable,
    partitionOf && `${partitionOf.disk.slice(root.length)} ${partitionOf.number}`,
  ]);

test("disks and partitions on a USB bus, and what can be taken out of its drive", async () => {
  device(USB, { removable: "0" });
  device(`${USB}/sdb1`, { partition: "1" });
  device("pci0000:00/ata1/block/sr0", { removable: "1" });
  device("pci0000:00/ata1/block/sda", { removable: "0" });
  device("pci0000:00/ata1/block/sda/sda2", { partition: "2" });
  device("pci0000:00/mmc_host/mmc0/mmc0:0001/block/mmcblk0", { removable: "0" });
  device("platform/cciss/block/cciss!c0d0", { removable: "1" });
  device("platform/cciss/block/cciss!c0d0/cciss!c0d0p1", { partition: "1" });
  expect(await list()).toEqual([
    ["/dev/cciss/c0d0", true, undefined],
    ["/dev/cciss/c0d0p1", true, "/dev/cciss/c0d0 1"],
    ["/dev/mmcblk0", false, undefined],
    ["/dev/sda", false, undefined],
    ["/dev/sda2", false, "/dev/sda 2"],
    ["/dev/sdb", true, undefined],
    ["/dev/sdb1", true, "/dev/sdb 1"],
    ["/dev/sr0", true, undefined],
  ]);
});

test("a folder whose name has usb in it is no bus", async () => {
  device("platform/usbish/usb-storage/block/sdc", { removable: "0" });
  expect(await list()).toEqual([["/dev/sdc", false, undefined]]);
});

test("a drive without a medium, a device without a node, and one that another is built on are left out", async () => {
  device(USB, { size: "0", removable: "1" });
  device("virtual/block/dm-0");
  rmSync(join(root, "dev/dm-0"));
  device("pci0000:00/ata1/block/sda");
  mkdirSync(join(root, "sys/devices/pci0000:00/ata1/block/sda/holders/dm-1"));
  expect(await list()).toEqual([]);
});

test("a stick that comes back is another occurrence", async () => {
  device(USB, { removable: "1" });
  const [before] = await sticks.list();
  const again = join(root, "dev/sdb.new");
  writeFileSync(again, "");
  renameSync(again, join(root, "dev/sdb"));
  const [after] = await sticks.list();
  expect(after?.occurrence).not.toBe(before?.occurrence);
});
