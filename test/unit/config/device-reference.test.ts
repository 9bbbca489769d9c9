import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  isSameReference,
  maxMembers,
  parseDeviceList,
  parseDeviceReference,
  printDeviceReference,
  toDevicePath,
  volumeUuidProblem,
} from "../../../src/config/device-reference.ts";
import type { DeviceReference, DeviceTag } from "../../../src/config/plan.ts";
import { anyText, expectOneLine, textOf } from "./texts.ts";

const uuid = "6e8c1f2a-0b3d-4c5e-8f70-123456789abc";
const tag = (name: DeviceTag, value: string): DeviceReference => ({ by: "tag", tag: name, value });
const path = (text: string): DeviceReference => ({ by: "path", path: text });

function parsed(text: string): DeviceReference {
  const result = parseDeviceReference(text);
  if ("problem" in result) throw new Error(result.problem);
  return result.value;
}

describe("what names a device", () => {
  test.each<[string, DeviceReference, string]>([
    [`UUID=${uuid}`, tag("UUID", uuid), `/dev/disk/by-uuid/${uuid}`],
    [`UUID=${uuid.toUpperCase()}`, tag("UUID", uuid), `/dev/disk/by-uuid/${uuid}`],
    [`UUID="${uuid}"`, tag("UUID", uuid), `/dev/disk/by-uuid/${uuid}`],
    [`OLD_BLKID_UUID=${uuid}`, tag("UUID", uuid), `/dev/disk/by-uuid/${uuid}`],
    ["UUID=4f2a-99c1", tag("UUID", "4F2A-99C1"), "/dev/disk/by-uuid/4F2A-99C1"],
    ["UUID=61DB7756DB7779B3", tag("UUID", "61DB7756DB7779B3"), "/dev/disk/by-uuid/61DB7756DB7779B3"],
    ["UUID=2024-01-02-03-04-05-00", tag("UUID", "2024-01-02-03-04-05-00"), "/dev/disk/by-uuid/2024-01-02-03-04-05-00"],
    ["PARTUUID=DEADBEEF-02", tag("PARTUUID", "deadbeef-02"), "/dev/disk/by-partuuid/deadbeef-02"],
    [`PARTUUID=${uuid.toUpperCase()}`, tag("PARTUUID", uuid), `/dev/disk/by-partuuid/${uuid}`],
    ["LABEL=Root", tag("LABEL", "Root"), "/dev/disk/by-label/Root"],
    ['LABEL="my disk"', tag("LABEL", "my disk"), "/dev/disk/by-label/my\\x20disk"],
    ["LABEL='it''s'", tag("LABEL", "it''s"), "/dev/disk/by-label/it\\x27\\x27s"],
    ["LABEL=a=b", tag("LABEL", "a=b"), "/dev/disk/by-label/a=b"],
    ["PARTLABEL=disk-main-root", tag("PARTLABEL", "disk-main-root"), "/dev/disk/by-partlabel/disk-main-root"],
    ["ID=nvme-X_1", tag("ID", "nvme-X_1"), "/dev/disk/by-id/nvme-X_1"],
    ["/dev/sda2", path("/dev/sda2"), "/dev/sda2"],
    ["//dev///sda2", path("/dev/sda2"), "/dev/sda2"],
    ["/dev/mapper/a b", path("/dev/mapper/a b"), "/dev/mapper/a b"],
    [
      "/dev/disk/by-path/pci-0000:00:1f.2",
      path("/dev/disk/by-path/pci-0000:00:1f.2"),
      "/dev/disk/by-path/pci-0000:00:1f.2",
    ],
    [`/dev/disk/by-uuid/${uuid}`, tag("UUID", uuid), `/dev/disk/by-uuid/${uuid}`],
    ["/dev/disk/by-label/my\\x20disk", tag("LABEL", "my disk"), "/dev/disk/by-label/my\\x20disk"],
    ["/dev/disk/by-label/\\x22a\\x22", tag("LABEL", '"a"'), "/dev/disk/by-label/\\x22a\\x22"],
    ["/dev/disk/by-label/a b", path("/dev/disk/by-label/a b"), "/dev/disk/by-label/a b"],
    ["/dev/disk/by-label/\\x0a", path("/dev/disk/by-label/\\x0a"), "/dev/disk/by-label/\\x0a"],
  ])("%s", (text, reference, devicePath) => {
    expect(parsed(text)).toEqual(reference);
    expect(toDevicePath(reference)).toBe(devicePath);
  });

  test.each([
    ["", 'expected UUID=…, LABEL=…, or a path, got ""'],
    ["sda1", 'expected UUID=…, LABEL=…, or a path, got "sda1"'],
    ["UUID=", "UUID= is empty"],
    ['UUID=""', "UUID= is empty"],
    ["LABEL=..", 'LABEL= cannot be ".."'],
    ['UUID="', "the quotes of UUID= do not match"],
    [`UUID="${uuid}`, "the quotes of UUID= do not match"],
    ["UUID=6e8c…", 'UUID= has letters, digits and "-" only, got "6e8c…"'],
    ["UUID=../../sda", 'UUID= has letters, digits and "-" only, got "../../sda"'],
    [
      "UUID=6e8c1f2a-ob3d-4c5e-8f70-123456789abc",
      '"6e8c1f2a-ob3d-4c5e-8f70-123456789abc" looks like a UUID, but is not hexadecimal',
    ],
    ["uuid=1", 'no such tag "uuid": write UUID='],
    ["NAME=x", 'no such tag "NAME": known are UUID, LABEL, PARTUUID, PARTLABEL, ID'],
    [`PARTUUID=${uuid}/PARTNROFF=1`, "PARTNROFF is known to the kernel alone: name the partition itself"],
    ["/", 'expected the path of a device, got "/"'],
    ["/dev/sda/", 'expected the path of a device, got "/dev/sda/"'],
    ["/dev/../etc/passwd", 'the path of a device has no "." and no "..", got "/dev/../etc/passwd"'],
    [`LABEL=${"x".repeat(256)}`, "the value of LABEL= is too long"],
    [`/dev/${"x".repeat(4096)}`, "a path has at most 4096 characters"],
  ])("%j is refused with a reason", (text, problem) => {
    expect(parseDeviceReference(text)).toEqual({ problem });
  });

  test.each(["/dev/sd\na", "LABEL=a\u0000", "LABEL=\u001b[2J", "LABEL=\ud800", "LABEL=\ufffd", "UUID=1\n"])(
    "%j is refused for its characters",
    (text) => {
      expect(parseDeviceReference(text)).toHaveProperty("problem");
    },
  );
});

describe("several members", () => {
  test("paths joined by colons are members, and one named twice is one", () => {
    expect(parseDeviceList("/dev/sda:/dev/sdb://dev/sda")).toEqual({ value: [path("/dev/sda"), path("/dev/sdb")] });
  });

  test("a colon inside a name joins nothing", () => {
    expect(parseDeviceList("/dev/disk/by-path/pci-0:1:/dev/sdb")).toEqual({
      value: [path("/dev/disk/by-path/pci-0:1"), path("/dev/sdb")],
    });
    expect(parseDeviceList("LABEL=a:/b")).toEqual({ value: [tag("LABEL", "a:/b")] });
  });

  test("one member that is none spoils the list", () => {
    expect(parseDeviceList("/dev/sda:/")).toHaveProperty("problem");
  });

  test("more members than a bcachefs can have are refused", () => {
    const members = Array.from({ length: maxMembers + 1 }, (_, index) => `/dev/sd${index}`);
    expect(parseDeviceList(members.join(":"))).toEqual({ problem: "expected at most 64 devices, got 65" });
  });
});

test("a link and its tag are the same device, a path and a tag are not known to be", () => {
  expect(isSameReference(parsed(`UUID=${uuid}`), parsed(`/dev/disk/by-uuid/${uuid}`))).toBe(true);
  expect(isSameReference(parsed(`UUID=${uuid}`), parsed("/dev/sda"))).toBe(false);
  expect(isSameReference(parsed(`UUID=${uuid}`), parsed(`PARTUUID=${uuid}`))).toBe(false);
});

test("no encrypted volume has the short UUID of a FAT", () => {
  expect(volumeUuidProblem(parsed("UUID=4F2A-99C1"))).toBe(
    '"4F2A-99C1" is not the UUID of an encrypted volume (36 characters)',
  );
  expect(volumeUuidProblem(parsed(`UUID=${uuid}`))).toBeUndefined();
  expect(volumeUuidProblem(parsed("LABEL=4F2A-99C1"))).toBeUndefined();
});

describe("properties", () => {
  const devices = fc.oneof(
    anyText,
    fc
      .tuple(fc.constantFrom("UUID=", "LABEL=", "PARTUUID=", "ID=", "/dev/disk/by-label/", "/"), anyText)
      .map((parts) => parts.join("")),
    textOf("UUID=", "LABEL=", "/", ":", "..", '"', "'", "\\x20", uuid, "dev", "disk/by-label/", "\n"),
  );

  test("any text is a reference or has one line of reason", () => {
    fc.assert(
      fc.property(devices, (text) => {
        for (const result of [parseDeviceReference(text), parseDeviceList(text)]) {
          if ("problem" in result) expectOneLine(result.problem);
        }
      }),
    );
  });

  test("what is printed parses to the same, and so does the path it leads to", () => {
    fc.assert(
      fc.property(devices, (text) => {
        const result = parseDeviceReference(text);
        fc.pre("value" in result);
        expect(parseDeviceReference(printDeviceReference(result.value))).toEqual(result);
        expect(parseDeviceReference(toDevicePath(result.value))).toEqual(result);
      }),
    );
  });
});
