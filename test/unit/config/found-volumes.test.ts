import { describe, expect, test } from "bun:test";
import type { Plan } from "../../../src/config/plan.ts";
import { otherUuid, planOf, shortly, uuid, volumesOf } from "./machine.ts";

describe("found without any configuration", () => {
  test.each<[string, string[]]>([
    [`root=UUID=${uuid} rootfstype=bcachefs`, [`root | UUID=${uuid} | root`]],
    [`root="UUID=${uuid}" rootfstype=bcachefs`, [`root | UUID=${uuid} | root`]],
    [`root=/dev/disk/by-uuid/${uuid.toUpperCase()} rootfstype=bcachefs`, [`root | UUID=${uuid} | root`]],
    ["root=/dev/sda:/dev/sdb rootfstype=bcachefs", ["root | /dev/sda /dev/sdb | root"]],
    [`root=UUID=${uuid}`, [`root | UUID=${uuid} | maybe | root`]],
    ["root=/dev/sda2 rootfstype=auto", ["root | /dev/sda2 | maybe | root"]],
    ["root=/dev/sda2 rootfstype=ext4,bcachefs", ["root | /dev/sda2 | maybe | root"]],
    ["root=/dev/vg/root", ["root | /dev/vg/root | maybe | root"]],
    ["root=/dev/sda2 rootfstype=ext4", []],
    ["root=/dev/nfs", []],
    ["root=gpt-auto", []],
    ["root=nfs:server:/root", []],
    ["root=ZFS=tank/root", []],
    ["root=fstab", []],
    ["root=", []],
    ["quiet", []],
  ])("%s", (kernel, volumes) => {
    const plan = planOf({ kernel });
    expect(plan.volumes.map(shortly)).toEqual(volumes);
    expect(plan.warnings).toEqual([]);
  });

  test("what is found is asked for, and may be unencrypted: then there is nothing to do", () => {
    expect(planOf({ kernel: `root=UUID=${uuid}` }).volumes[0]).toMatchObject({
      sources: [{ kind: "prompt" }],
      requireEncrypted: false,
      origin: { file: "kernel command line" },
    });
  });

  test("a mapping is not guessed about, for the system's own question may stand before it", () => {
    expect(volumesOf({ kernel: "root=/dev/mapper/vg-root" })).toEqual([]);
    expect(volumesOf({ kernel: "root=/dev/dm-0" })).toEqual([]);
    expect(volumesOf({ kernel: "root=/dev/mapper/vg-root rootfstype=bcachefs" })).toEqual([
      "root | /dev/mapper/vg-root | root",
    ]);
  });

  test("a bcachefs root that no device can be told from is a warning", () => {
    expect(planOf({ kernel: "root=nfs:x rootfstype=bcachefs" }).warnings).toEqual([
      'kernel command line: root: latchkey cannot tell which device this is: expected UUID=…, LABEL=…, or a path, got "nfs:x"',
    ]);
  });

  test("root=fstab: the mounts of the initrd's fstab, each filesystem once however many mounts it has (NixOS)", () => {
    const fstab = [
      `/dev/disk/by-uuid/${uuid} /sysroot bcachefs x-initrd.mount,X-mount.subdir=@root 0 0`,
      `/dev/disk/by-uuid/${uuid} /sysroot/nix bcachefs x-initrd.mount,X-mount.subdir=@nix 0 0`,
      `UUID=${otherUuid} /sysroot/var/log bcachefs x-initrd.mount 0 0`,
      "/dev/sdz /sysroot/boot vfat defaults 0 0",
    ].join("\n");
    expect(volumesOf({ kernel: "root=fstab", fstab })).toEqual([
      `root | UUID=${uuid} | root`,
      `var-log | UUID=${otherUuid}`,
    ]);
  });

  test("the system's own fstab: root, /usr and what is marked for the initrd, nothing else", () => {
    const fstab = [
      "/dev/a / bcachefs noauto 0 1",
      "/dev/b /usr bcachefs defaults 0 0",
      "/dev/c /nix bcachefs x-initrd.mount 0 0",
      "/dev/d /home bcachefs defaults 0 0",
      "/dev/e /srv bcachefs x-initrd.mount,noauto 0 0",
      "/dev/f /var ext4 x-initrd.mount 0 0",
      "x /opt bcachefs x-initrd.mount 0 0",
    ].join("\n");
    const plan = planOf({ fstab });
    expect(plan.volumes.map(shortly)).toEqual(["root | /dev/a | root", "usr | /dev/b", "nix | /dev/c"]);
    expect(plan.warnings).toEqual(['/etc/fstab:7: expected UUID=…, LABEL=…, or a path, got "x": ignored']);
  });

  test("two mounts with the same last name are two volumes", () => {
    const fstab = "/dev/b /sysroot/a/b bcachefs defaults\n/dev/c /sysroot/a-b bcachefs defaults";
    expect(volumesOf({ kernel: "root=fstab", fstab })).toEqual(["a-b | /dev/b", "a-b-2 | /dev/c"]);
  });

  test("fstab's line for the root tells the type when root= names the same device, and counts for nothing else", () => {
    const fstab = `UUID=${uuid} / bcachefs degraded 0 1`;
    expect(volumesOf({ kernel: `root=UUID=${uuid}`, fstab })).toEqual([`root | UUID=${uuid} | root`]);
    expect(volumesOf({ kernel: "root=/dev/sda2", fstab })).toEqual(["root | /dev/sda2 | maybe | root"]);
    expect(volumesOf({ kernel: "root=/dev/sda2 rootfstype=ext4", fstab })).toEqual([]);
    expect(volumesOf({ kernel: "root=gpt-auto", fstab })).toEqual([]);
  });
});

describe("how the root is to be mounted", () => {
  const root = `root=UUID=${uuid} rootfstype=bcachefs`;
  const line = (options: string) => `UUID=${uuid} / bcachefs ${options} 0 1`;
  test.each<[string, string | undefined, Plan["rootMount"]]>([
    [root, undefined, { options: [], readOnly: true }],
    [`${root} rw`, undefined, { options: [], readOnly: false }],
    [`${root} rootflags=rw,degraded`, undefined, { options: ["degraded"], readOnly: false }],
    [`${root} ro rootflags=rw`, undefined, { options: [], readOnly: true }],
    [`${root} rootflags=noatime`, line("rw,degraded"), { options: ["noatime"], readOnly: true }],
    [
      root,
      line("rw,degraded,X-mount.subdir=/@root/,x-systemd.wants=a,nofail"),
      { options: ["degraded"], readOnly: true, subdirectory: "@root" },
    ],
    [root, line("X-mount.subdir=../etc"), { options: [], readOnly: true }],
    [root, line("degraded").replace(uuid, otherUuid), { options: [], readOnly: true }],
    [
      "root=fstab ro",
      line("defaults,compression=zstd,X-mount.mkdir"),
      { options: ["compression=zstd"], readOnly: false },
    ],
    ["root=fstab", line("ro,user,_netdev,usrquota"), { options: ["usrquota"], readOnly: true }],
    ["root=/dev/sda rootfstype=ext4 rootflags=x", undefined, undefined],
  ])("%s with fstab %p", (kernel, fstab, rootMount) => {
    expect(planOf({ kernel, ...(fstab === undefined ? {} : { fstab }) }).rootMount).toEqual(rootMount);
  });
});
