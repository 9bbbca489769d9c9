import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findStick, type StickPlace } from "../../../../src/enroll/usb/find-stick.ts";
import type { KeyReader } from "../../../../src/sources/usb/key-reader.ts";
import type { DeviceIdentity } from "../../../../src/sources/usb/reader-protocol.ts";
import type { LatchkeyError } from "../../../../src/system/errors.ts";
import { parseMountTable } from "../../../../src/system/mount-table.ts";
import { never } from "../scene.ts";

let root: string;
beforeEach(() => {
  root = realpathSync(mkdtempSync(join(tmpdir(), "latchkey-find-stick-")));
  for (const folder of ["dev", "sys/class/block", "sys/dev/block", "media/my stick", "media/plain"]) {
    mkdirSync(join(root, folder), { recursive: true });
  }
  const disk = join(root, "sys/devices/pci0000:00/usb1/1-1/block/sdb");
  mkdirSync(join(disk, "sdb1"), { recursive: true });
  mkdirSync(join(disk, "device"));
  for (const [file, text] of Object.entries({
    "device/vendor": "Kingston",
    "device/model": "DataTraveler 3.0 ",
    size: "31277232",
    removable: "1",
    "sdb1/partition": "1",
    "sdb1/dev": "8:17",
  })) {
    writeFileSync(join(disk, file), `${text}\n`);
  }
  const inner = join(root, "sys/devices/pci0000:00/ata1/block/sda");
  mkdirSync(inner, { recursive: true });
  writeFileSync(join(inner, "removable"), "0\n");
  writeFileSync(join(inner, "dev"), "8:0\n");
  for (const [name, folder] of [
    ["sdb", disk],
    ["sdb1", join(disk, "sdb1")],
    ["sda", inner],
  ] as const) {
    symlinkSync(folder, join(root, "sys/class/block", name));
    writeFileSync(join(root, "dev", name), "");
  }
  symlinkSync(join(disk, "sdb1"), join(root, "sys/dev/block/8:17"));
});
afterEach(() => rmSync(root, { recursive: true }));

const vfat = [{ type: "vfat", uuid: "4F2A-99C1" }] as const;

function readerOf(filesystems: DeviceIdentity["filesystems"]): KeyReader {
  return {
    prepare: () => undefined,
    identify: async () => ({ filesystems }),
    read: () => Promise.reject(new Error("not read")),
  };
}

const mounted = (options = "rw", part = "/") =>
  `40 1 8:17 ${part} ${join(root, "media/my stick").replaceAll(" ", "\\040")} ${options},relatime shared:1 - vfat /dev/sdb1 ${options}\n`;

async function find(
  place: StickPlace,
  mountTable = "",
  filesystems: DeviceIdentity["filesystems"] = vfat,
  anyBus = false,
) {
  const parts = {
    reader: readerOf(filesystems),
    roots: { dev: join(root, "dev"), sys: join(root, "sys") },
    mountTable,
    anyBus,
  };
  try {
    return await findStick(place, parts, never);
  } catch (thrown) {
    const { code, message } = thrown as LatchkeyError;
    return `${code}: ${message.replaceAll(root, "")}`;
  }
}

const at = (path: string) => ({ device: join(root, path) });

test("a partition that is not mounted", async () => {
  expect(await find(at("dev/sdb1"))).toEqual({
    device: join(root, "dev/sdb1"),
    disk: join(root, "dev/sdb"),
    isRemovable: true,
    type: "vfat",
    uuid: "4F2A-99C1",
    description: "Kingston DataTraveler 3.0, 14.9 GiB",
  });
});

test("one that is mounted, by its device or by its folder", async () => {
  const mountPoint = join(root, "media/my stick");
  expect(await find(at("dev/sdb1"), mounted())).toMatchObject({ mountPoint });
  expect(await find({ mount: mountPoint }, mounted())).toMatchObject({ mountPoint, device: join(root, "dev/sdb1") });
});

test("what is no stick is refused, with what it is", async () => {
  const stick = join(root, "media/my stick");
  const plain = join(root, "media/plain");
  expect(await find({ mount: plain }, mounted())).toBe(
    "enroll/not-a-stick: /media/plain is a folder of another filesystem, and nothing is mounted there",
  );
  expect(await find({ mount: stick }, mounted("ro"))).toBe("enroll/not-a-stick: /media/my stick is mounted read-only");
  expect(await find({ mount: stick }, mounted("rw", "/part"))).toBe(
    "enroll/not-a-stick: /media/my stick is a part of a filesystem only",
  );
  const tmpfs = `41 1 0:40 / ${plain} rw - tmpfs tmpfs rw\n`;
  expect(await find({ mount: plain }, tmpfs)).toBe(
    "enroll/not-a-stick: what is mounted on /media/plain (tmpfs) is on no disk",
  );
  expect(await find(at("dev/sda"))).toBe("enroll/not-a-stick: /dev/sda is neither removable nor on a USB bus");
  expect(await find(at("dev/sda"), "", vfat, true)).toMatchObject({ isRemovable: false });
  expect(await find(at("dev/sdx"))).toBe("device/missing: /dev/sdx does not exist");
  writeFileSync(join(root, "dev/file"), "");
  expect(await find(at("dev/file"))).toBe(
    "enroll/not-a-stick: /dev/file is no disk or partition that the kernel knows",
  );
  expect(await find(at("dev/sdb1"), "", [])).toBe(
    "enroll/not-a-stick: /dev/sdb1 holds no vfat, exfat or ext4 with a UUID",
  );
  expect(await find(at("dev/sdb1"), "", [...vfat, { type: "ext4", uuid: "u" }])).toBe(
    "enroll/not-a-stick: /dev/sdb1 has traces of several filesystems",
  );
  expect(await find(at("dev/sdb1"), "", [{ type: "iso9660", uuid: "u" }])).toBe(
    "enroll/not-a-stick: /dev/sdb1 is a CD image, which cannot be written to",
  );
});

test("the mount table is read as the kernel writes it", () => {
  const [first, second, ...rest] = parseMountTable(
    "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n30 1 8:17 / /a\\040b\\134c rw - vfat /dev/sdb1 ro\nnonsense\n\n",
  );
  expect(first).toEqual({ device: "98:0", root: "/mnt1", mountPoint: "/mnt2", type: "ext3", isReadOnly: false });
  expect(second).toEqual({ device: "8:17", root: "/", mountPoint: "/a b\\c", type: "vfat", isReadOnly: true });
  expect(rest).toEqual([]);
});
