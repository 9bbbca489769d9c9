/** A stick that is put into a system that is up, and pulled: what udev and systemd make of it. */
import { expect } from "bun:test";
import { join } from "node:path";
import { startBooted } from "./booted-root.ts";
import { repository } from "./cache.ts";
import { vmCase } from "./case.ts";
import type { Files } from "./files.ts";
import { guest } from "./guest/chroot.ts";
import { bcachefsImage, PASSPHRASE } from "./images.ts";
import { luksImage } from "./images-luks.ts";
import type { Machine } from "./machine.ts";
import { seconds } from "./patience.ts";
import type { Disk } from "./qemu-arguments.ts";
import { stick } from "./sticks.ts";

const binary = process.env["LATCHKEY_BINARY"] ?? join(repository, "dist/latchkey");

const OURS = "4F2A-99C1";
const FOREIGN = "4F2A-99C2";
/** One file for both: LUKS takes its bytes, bcachefs its line. */
const KEY = { path: "both.key", sha256: Bun.SHA256.hash(PASSPHRASE, "hex") } as const;

const configuration = (luks: string, bcachefs: string): string => `[volumes.data]
kind = "luks"
device = "UUID=${luks}"
sources = ["usb"]
usb = { uuid = "${OURS}", path = "${KEY.path}", sha256 = "${KEY.sha256}" }
[volumes.more]
kind = "bcachefs"
device = "UUID=${bcachefs}"
sources = ["usb"]
usb = { uuid = "${OURS}", path = "${KEY.path}", sha256 = "${KEY.sha256}" }
`;

/** Mounts that systemd has given up by the time the stick comes. */
const fstab = (bcachefs: string): string => `/dev/mapper/data /data ext4 nofail,x-systemd.device-timeout=1s 0 0
UUID=${bcachefs} /more bcachefs nofail 0 0
UUID=${bcachefs} /by-hand bcachefs noauto 0 0
`;

async function start(name: string): Promise<Machine> {
  const debian = await guest("initramfs-tools");
  const luks = await luksImage(debian);
  const bcachefs = await bcachefsImage(debian, { passphrase: PASSPHRASE });
  const files: Files = {
    "/etc/latchkey/latchkey.toml": configuration(luks.members[0]?.uuid ?? "", bcachefs.uuid),
    // What is searched for in the guest, so that it is never typed there.
    "/etc/vm-key": PASSPHRASE,
  };
  const late = (file: string, serial: string): Disk => ({ file, serial, bus: "usb", isLate: true });
  return startBooted(name, {
    binary,
    files,
    fstab: fstab(bcachefs.uuid),
    disks: [
      ...luks.members.map(({ file }) => ({ file, serial: "data" })),
      ...bcachefs.members.map((file) => ({ file, serial: "more" })),
      late(await stick({ type: "vfat", uuid: FOREIGN, files: { [KEY.path]: PASSPHRASE } }), "foreign"),
      late(await stick({ type: "vfat", uuid: OURS, files: { [KEY.path]: PASSPHRASE }, isPartition: true }), "ours"),
    ],
  });
}

/** Waits in the guest until a command succeeds there. */
const until = (machine: Machine, condition: string, limit = seconds(180)): Promise<string> =>
  machine.shell(`until ${condition}; do sleep 1; done`, limit);

vmCase("a stick opens what waits for it and has it mounted; pulling it withdraws what was staged", async (name) => {
  await using machine = await start(name);
  const journal = (text: string): string => `journalctl --boot --output=cat | grep -F "${text}"`;
  const waiting = await machine.shell("systemctl is-active data.mount more.mount; ls /dev/mapper", seconds(180));
  expect(waiting).not.toMatch(/^(active|data)$/m);

  await machine.plug("foreign");
  await until(machine, journal(`is left alone: vfat ${FOREIGN} is no stick of the configuration`));

  await machine.plug("ours");
  await until(machine, "findmnt -n /data && findmnt -n /more");
  await until(machine, journal(`more: bcachefs on /dev/vdc opened by usb stick ${OURS}`));
  await machine.shell(journal(`data: LUKS2 on /dev/vdb opened by usb stick ${OURS}`));
  await machine.shell("! findmnt /by-hand");

  const staged = "/run/cryptsetup-keys.d/data.key";
  await machine.shell(`umount /data && cryptsetup close data && latchkey stage data && cmp ${staged} /etc/vm-key`);
  await machine.unplug("foreign");
  await machine.unplug("ours");
  await until(machine, `! ls ${staged}`);
  await machine.shell(journal("data: its staged key is gone with the stick"));
  await machine.shell("findmnt -n /more"); // what is open stays open

  const left = "systemctl list-units --no-legend --state=active 'latchkey*'; grep -lx latchkey /proc/[0-9]*/comm";
  expect((await machine.shell(`{ ${left}; } 2>/dev/null; true`)).trim()).toBe("");
  // The journal is below /run, too.
  expect((await machine.shell("grep -rlaF -D skip -f /etc/vm-key /run /dev/shm; true")).trim()).toBe("");
});
