import { describe, expect, test } from "bun:test";
import { chmodSync } from "node:fs";
import { join } from "node:path";
import { imageCandidates } from "../../../src/stacks/dracut/image-paths.ts";
import { rootIsBcachefs } from "../../../src/stacks/root-filesystem.ts";
import { thisMachine } from "../../../src/stacks/this-machine.ts";
import { FakeMachine, failed } from "./fake-machine.ts";

describe("files of the machine", () => {
  test("are written whole, with their folders and mode", () => {
    using machine = new FakeMachine(async () => failed(127));
    machine.files.write("/etc/a/b.conf", "text", 0o640);
    expect(machine.files.readText("/etc/a/b.conf")).toBe("text");
    expect(machine.files.facts("/etc/a/b.conf")).toEqual({ kind: "file", mode: 0o640, size: 4 });
    expect(machine.files.walk("/etc")).toEqual(["/etc/a/b.conf"]);
  });

  test("that cannot be written are our error, with the reason", () => {
    using machine = new FakeMachine(async () => failed(127));
    machine.put("/etc/file", "not a folder");
    expect(() => machine.files.write("/etc/file/x", "text", 0o644)).toThrow("cannot write /etc/file/x");
  });

  test("that are not there are undefined", () => {
    using machine = new FakeMachine(async () => failed(127));
    expect(machine.files.readText("/nowhere")).toBeUndefined();
    expect(machine.files.facts("/nowhere")).toBeUndefined();
    expect(machine.files.list("/nowhere")).toEqual([]);
  });
});

describe("programs of the machine", () => {
  test("give status and output, also when they are missing or may not run", async () => {
    using fake = new FakeMachine(async () => failed(127));
    fake.put("/not-executable", "#!/bin/sh\n");
    chmodSync(join(fake.root, "not-executable"), 0o644);
    const { run } = thisMachine();
    expect(await run(["/bin/sh", "-c", "echo out; echo err >&2; exit 3"])).toEqual({
      status: 3,
      stdout: "out\n",
      stderr: "err\n",
    });
    expect((await run(["/no/such/program"])).status).toBe(127);
    expect((await run([join(fake.root, "not-executable")])).status).toBe(126);
  });
});

test("images are looked for where dracut's own tools look", () => {
  expect(imageCandidates("6.12", "abc")).toContain("/boot/efi/abc/6.12/initrd");
  expect(imageCandidates("6.12", undefined)).toContain("/efi/Default/6.12/initrd");
  expect(imageCandidates("6.12", "abc")).toContain("/boot/initrd.img-6.12");
  expect(imageCandidates("6.12", "abc")).toContain("/boot/initramfs-6.12.img");
});

test.each<[string, string, string, boolean]>([
  ["mounted", "/dev/sda:/dev/sdb / bcachefs rw 0 0\n", "", true],
  ["in fstab only", "overlay / overlay rw 0 0\n", "UUID=1 / bcachefs defaults 0 1\n", true],
  ["somewhere else", "/dev/sda / ext4 rw 0 0\n/dev/sdb /srv bcachefs rw 0 0\n", "# UUID=1 / bcachefs\n", false],
])("a bcachefs root is noticed: %s", (_, mounts, table, expected) => {
  using machine = new FakeMachine(async () => failed(127));
  machine.put("/proc/self/mounts", mounts);
  machine.put("/etc/fstab", table);
  expect(rootIsBcachefs(machine.files)).toBe(expected);
});
