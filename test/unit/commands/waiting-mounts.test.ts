import { describe, expect, test } from "bun:test";
import { mountsOn, type OpenVolume, openVolumes } from "../../../src/commands/waiting-mounts.ts";
import { parseFstab } from "../../../src/config/fstab.ts";
import type { DeviceReference } from "../../../src/config/plan.ts";
import type { VolumeRecord } from "../../../src/unlock/report.ts";
import { volumePlan } from "../unlock/fakes.ts";

/** What leads where on a machine with a LUKS volume and a bcachefs of two members open. */
const links: Readonly<Record<string, string>> = {
  "/dev/mapper/data": "/dev/dm-0",
  "UUID=inside-data": "/dev/dm-0",
  "LABEL=other": "/dev/sdz1",
  "/dev/vdb": "/dev/vdb",
  "/dev/vdc": "/dev/vdc",
  "/dev/sdz1": "/dev/sdz1",
};
const devices = {
  resolve: (reference: DeviceReference) =>
    Promise.resolve(links[reference.by === "path" ? reference.path : `${reference.tag}=${reference.value}`]),
};

const data: OpenVolume = { name: "data", nodes: ["/dev/mapper/data"] };
const more: OpenVolume = { name: "more", uuid: "more-uuid", nodes: ["/dev/vdb", "/dev/vdc"] };

const mounted = async (fstab: string, opened: readonly OpenVolume[] = [data, more]): Promise<string> => {
  const mounts = await mountsOn(opened, parseFstab(fstab, "fstab").entries, devices);
  return mounts.map(({ volume, mountPoint }) => `${volume} ${mountPoint}`).join(", ");
};

describe("a mount that waits for what was opened", () => {
  test.each([
    ["by the mapping", "/dev/mapper/data /data ext4 nofail 0 0", "data /data"],
    ["by the filesystem in it", "UUID=inside-data /data ext4 defaults 0 0", "data /data"],
    ["by the UUID of a bcachefs, which may have no link", "UUID=more-uuid /more bcachefs nofail 0 0", "more /more"],
    ["by a member of it", "/dev/vdc /more bcachefs nofail 0 0", "more /more"],
    ["by all of its members", "/dev/vdb:/dev/vdc /more bcachefs nofail 0 0", "more /more"],
    ["twice", "/dev/mapper/data /data ext4 nofail\n/dev/mapper/data /b ext4 subvol=b", "data /data, data /b"],
  ])("is named %s", async (_, fstab, expected) => {
    expect(await mounted(fstab)).toBe(expected);
  });

  test.each([
    ["waits for a person", "/dev/mapper/data /data ext4 noauto 0 0"],
    ["is swap", "/dev/mapper/data none swap sw 0 0"],
    ["is another disk's", "LABEL=other /other ext4 nofail 0 0"],
    ["is no disk's", "tmpfs /tmp tmpfs defaults 0 0"],
    ["is on what is not there", "UUID=nowhere /x ext4 nofail 0 0"],
  ])("is none that %s", async (_, fstab) => {
    expect(await mounted(fstab)).toBe("");
  });

  test("is none when nothing was opened", async () => {
    expect(await mounted("/dev/mapper/data /data ext4 nofail 0 0", [])).toBe("");
  });
});

test("what the run itself opened is open, under its mapping's name or on its members", () => {
  const record = (name: string, more: Partial<VolumeRecord>): VolumeRecord => ({
    ...{ name, kind: "luks", description: null, uuid: `${name}-uuid`, devices: [`/dev/${name}`] },
    ...{ standing: "opened", opened_by: "usb", settled_ms: 1, error: null },
    ...more,
  });
  const luks = {
    allowDiscards: false,
    readOnly: false,
    openOptions: [],
    opener: "latchkey",
    mapping: "crypt",
  } as const;
  const plans = [volumePlan("b", { kind: "luks", luks })];
  const records = [
    record("a", {}),
    record("b", {}),
    record("c", { kind: "bcachefs" }),
    record("d", { standing: "already-open" }),
    record("e", { standing: "failed" }),
  ];
  expect(openVolumes(plans, records)).toEqual([
    { name: "a", nodes: ["/dev/mapper/a"] },
    { name: "b", nodes: ["/dev/mapper/crypt"] },
    { name: "c", uuid: "c-uuid", nodes: ["/dev/c"] },
  ]);
});
