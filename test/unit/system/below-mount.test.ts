import { describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { devicesBelow, devicesBelowNode } from "../../../src/system/below-mount.ts";

/** @param layers name -> the devices it is built on */
function below(mountinfo: string, layers: Readonly<Record<string, readonly string[]>>): readonly string[] | undefined {
  const root = mkdtempSync(join(tmpdir(), "latchkey-below-"));
  try {
    mkdirSync(join(root, "self"));
    writeFileSync(join(root, "self/mountinfo"), mountinfo);
    for (const [name, slaves] of Object.entries(layers)) {
      for (const slave of slaves) mkdirSync(join(root, "class/block", name, "slaves", slave), { recursive: true });
    }
    const nameOf = (path: string) => (path.startsWith("/dev/") ? basename(path).replace("vg-root", "dm-1") : undefined);
    const names = devicesBelow("/", { proc: root, sys: root, nameOf });
    return names && [...names];
  } finally {
    rmSync(root, { recursive: true });
  }
}

const line = (device: string, type = "ext4") => `22 1 0:30 / / rw,relatime shared:1 - ${type} ${device} rw\n`;

describe("the devices below a mount point", () => {
  test("are all layers of it", () => {
    const layers = { "dm-1": ["dm-0"], "dm-0": ["md0"], md0: ["vda2", "vdb2"] };
    expect(below(line("/dev/mapper/vg-root"), layers)).toEqual(["dm-1", "dm-0", "md0", "vda2", "vdb2"]);
  });

  test("are one where nothing is below it", () => {
    expect(below(line("/dev/vda2", "btrfs"), {})).toEqual(["vda2"]);
  });

  test("are those of what was mounted there last", () => {
    expect(below(`${line("rootfs", "rootfs")}${line("/dev/vda2")}`, {})).toEqual(["vda2"]);
  });

  test("that are built on each other have an end", () => {
    expect(below(line("/dev/a"), { a: ["b"], b: ["a"] })).toEqual(["a", "b"]);
  });

  test.each([
    ["an overlay", line("overlay", "overlay")],
    ["a file system without a block device", line("/somewhere", "fuse")],
    ["nothing", "22 1 0:30 / /home rw - ext4 /dev/vda3 rw\n"],
    ["rubbish", "x"],
  ])("cannot be told of %s", (_, mountinfo) => {
    expect(below(mountinfo, {})).toBeUndefined();
  });

  test("are told of a node as well", () => {
    const nameOf = (path: string) => (path === "/dev/mapper/x" ? "dm-0" : undefined);
    const nowhere = { proc: "/nonexistent", sys: "/nonexistent", nameOf };
    expect([...(devicesBelowNode("/dev/mapper/x", nowhere) ?? [])]).toEqual(["dm-0"]);
    expect(devicesBelowNode("/dev/null", nowhere)).toBeUndefined();
  });

  test("of this machine are found or not, and never fail", () => {
    expect(() => devicesBelow("/")).not.toThrow();
  });
});
