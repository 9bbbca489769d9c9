import { expect, test } from "bun:test";
import { symlinkSync } from "node:fs";
import { join } from "node:path";
import { unitUsers } from "../../../src/stacks/unit-users.ts";
import { FakeMachine, said } from "./fake-machine.ts";

const machineWith = (fstab: string): FakeMachine => {
  const machine = new FakeMachine(async () => said(""));
  machine.put("/etc/fstab", fstab);
  return machine;
};

test("mounts of fstab that require a volume's unit are named, and no others", () => {
  using machine = machineWith(
    [
      "UUID=1 / ext4 defaults 0 1",
      "/dev/mapper/data /srv ext4 nofail,x-systemd.requires=latchkey@data.service 0 2",
      '/dev/mapper/two /my\\040two ext4 x-systemd.requires="latchkey@my\\x2dtwo.service" 0 2',
      "# /dev/mapper/old /old ext4 x-systemd.requires=latchkey@old.service",
      "/dev/sdb1 /mnt ext4 x-systemd.requires=other@data.service,x-systemd.after=latchkey@data.service",
    ].join("\n"),
  );
  expect(unitUsers(machine.files)).toEqual([
    "latchkey@data.service for /srv in /etc/fstab",
    "latchkey@my\\x2dtwo.service for /my two in /etc/fstab",
  ]);
});

test("units that were enabled are named, whatever wants them", () => {
  using machine = machineWith("");
  machine.put("/etc/systemd/system/srv.mount.requires/other.service", "");
  machine.put("/etc/systemd/system/latchkey@data.service.d/mine.conf", "");
  machine.put("/etc/systemd/system/multi-user.target.wants/other.service", "");
  for (const place of ["multi-user.target.wants", "srv.mount.requires"]) {
    const link = join(machine.root, "etc/systemd/system", place, "latchkey@data.service");
    symlinkSync("/usr/lib/systemd/system/latchkey@.service", link);
  }
  expect(unitUsers(machine.files)).toEqual([
    "latchkey@data.service in /etc/systemd/system/multi-user.target.wants",
    "latchkey@data.service in /etc/systemd/system/srv.mount.requires",
  ]);
});

test("a machine with neither has no users", () => {
  using machine = new FakeMachine(async () => said(""));
  expect(unitUsers(machine.files)).toEqual([]);
});
