import { describe, expect, test } from "bun:test";
import { type Machine, otherUuid, planOf, uuid } from "./machine.ts";

const inInitrd = { inInitrd: true, runsSystemd: true };
const data = '[volumes.data]\nkind = "bcachefs"\ndevice = "/dev/sdx"\n';

describe("what the system's own files want open in the initrd", () => {
  const rows: [string, Machine, readonly string[]][] = [
    ["the root of root=", { kernel: `root=UUID=${uuid} rootfstype=bcachefs`, toml: data }, ["root"]],
    [
      "mounts of fstab",
      { kernel: "root=/dev/sda1 rootfstype=ext4", fstab: `UUID=${uuid} /usr bcachefs defaults 0 0\n`, toml: data },
      ["usr"],
    ],
    [
      "not those that may fail",
      { kernel: "root=/dev/sda1 rootfstype=ext4", fstab: `UUID=${uuid} /data bcachefs x-initrd.mount,nofail 0 0\n` },
      [],
    ],
    [
      "a configured volume, when it is one of these",
      {
        kernel: `root=UUID=${uuid} rootfstype=bcachefs`,
        toml: `[volumes.tank]\nkind = "bcachefs"\ndevice = "UUID=${uuid}"\n`,
      },
      ["tank"],
    ],
    [
      "crypttab, but for nofail and noauto",
      {
        crypttab: `a UUID=${uuid} none luks\nb UUID=${otherUuid} none luks,nofail\nc /dev/sdc none luks,noauto\n`,
        facts: inInitrd,
      },
      ["a"],
    ],
    [
      "not what comes over a network, unless it is marked as wanted there",
      {
        crypttab: `a UUID=${uuid} none luks,_netdev\nb UUID=${otherUuid} none luks,_netdev,x-initrd.attach\n`,
        facts: inInitrd,
      },
      ["b"],
    ],
    [
      "but all that Debian's initramfs carries, whose scripts know neither of these options",
      {
        cryptroot: `a UUID=${uuid} none luks,_netdev\nb UUID=${otherUuid} none luks,nofail\n`,
        facts: { inInitrd: true, runsSystemd: false },
      },
      ["a", "b"],
    ],
    ["rd.luks.*", { kernel: `rd.luks.name=${uuid}=a`, facts: inInitrd }, ["a"]],
  ];
  test.each(rows)("%s", (_, machine, names) => {
    const wanted = planOf(machine, "boot").volumes.filter(({ isForInitrd }) => isForInitrd === true);
    expect(wanted.map(({ name }) => name)).toEqual([...names]);
  });
});
