/** Encrypted roots with latchkey in an initramfs-tools image: what only a boot shows. */
import { expect } from "bun:test";
import { join } from "node:path";
import type { Report } from "../../src/unlock/report.ts";
import { startTangd } from "../unit/sources/clevis/tangd.ts";
import { repository } from "./cache.ts";
import { vmCase } from "./case.ts";
import { damagedBinary, earlyScript, killInInitramfs } from "./fault.ts";
import type { Files } from "./files.ts";
import { guest } from "./guest/chroot.ts";
import { bcachefsImage, PASSPHRASE } from "./images.ts";
import { luksImage } from "./images-luks.ts";
import {
  binary,
  CRYPTROOT,
  LUKS_STOCK_QUESTION,
  luksRoot,
  openedBy,
  patient,
  start,
  startLuks,
} from "./initramfs-machines.ts";
import { buildInitrd, smallMachineDrivers } from "./initrd.ts";
import { expectChecked, installAndCheck } from "./install-and-check.ts";
import { withoutClevis } from "./remote-image.ts";
import { rootSays } from "./root-tree.ts";
import { tangKeys, tangToken, tpmState, tpmToken } from "./tokens.ts";

const QUESTION = /Passphrase for root/;
const ASKED_AGAIN = /Wrong passphrase for root \(.*\), try again \(2nd try\)/;

/** The script of bcachefs-tools. */
const STOCK_QUESTION = /Please unlock \/dev\/vda[\s\S]*Enter passphrase:/;
const DAMAGED = "latchkey: the program in this image is missing or damaged: the system asks by itself";
const BOTH_MEMBERS = /\/dev\/vda:\/dev\/vdb|\/dev\/vdb:\/dev\/vda/;

const bcachefsTools = [
  ...["/usr/sbin/bcachefs", "/usr/sbin/mount.bcachefs", "/usr/sbin/fsck.bcachefs"],
  "/usr/share/initramfs-tools/hooks/bcachefs",
  "/usr/share/initramfs-tools/scripts/local-premount/bcachefs",
];

/** With them goes askpass: the question is latchkey's own, on the console. */
const cryptsetupInitramfs = [
  ...["cryptroot", "cryptroot-unlock"].map((name) => `/usr/share/initramfs-tools/hooks/${name}`),
  ...["local-top", "local-block", "local-bottom"].map(
    (folder) => `/usr/share/initramfs-tools/scripts/${folder}/cryptroot`,
  ),
];

vmCase("a wrong passphrase is said to be wrong, and the right one opens the bcachefs root", async (name) => {
  const image = await bcachefsImage(await guest("initramfs-tools"), { passphrase: PASSPHRASE });
  await using machine = await start(name, image);
  await machine.expect(QUESTION);
  await machine.sendLine("not the passphrase");
  await machine.expect(ASKED_AGAIN);
  await machine.sendLine(PASSPHRASE);
  const root = await machine.realRoot();
  expect(root.mounts.join("\n")).toContain("/dev/vda / bcachefs");
  const report = root.report as Report;
  expect(report.volumes).toMatchObject([{ name: "root", standing: "opened", opened_by: "prompt", uuid: image.uuid }]);
  expect(report.attempts.map(({ verdict }) => verdict)).toEqual(["wrong-credential", "opened"]);
});

vmCase("a root of two members, one of which comes late, is mounted by the mount helper", async (name) => {
  const image = await bcachefsImage(await guest("initramfs-tools"), { passphrase: PASSPHRASE, members: 2 });
  await using machine = await start(name, image, {
    disks: image.members.map((file, index) => ({ file, serial: `root${index}`, isLate: index === 1 })),
  });
  await machine.expect(/latchkey: root: waiting for 1 of 2 members/);
  await machine.plug("root1");
  await machine.expect(/Passphrase for root \(.*2 devices\)/);
  await machine.sendLine(PASSPHRASE);
  expect((await machine.realRoot()).mounts.join("\n")).toMatch(BOTH_MEMBERS);
});

vmCase(
  "a root device that comes late is asked for when it is there; members are gathered without tools",
  async (name) => {
    const image = await bcachefsImage(await guest("initramfs-tools"), { passphrase: PASSPHRASE, members: 2 });
    await using machine = await start(name, image, {
      disks: image.members.map((file, index) => ({ file, serial: `root${index}`, isLate: true })),
      initrd: { absent: [...withoutClevis, ...bcachefsTools, ...cryptsetupInitramfs] },
    });
    await machine.expect("Waiting for root file system");
    await machine.plug("root0");
    await machine.plug("root1");
    await machine.expect(QUESTION);
    await machine.sendLine(PASSPHRASE);
    expect((await machine.realRoot()).mounts.join("\n")).toMatch(BOTH_MEMBERS);
  },
);

vmCase("an unencrypted root is refused where policy says encrypted, and panic= is obeyed", async (name) => {
  const image = await bcachefsImage(await guest("initramfs-tools"), {});
  const configuration = `[volumes.system]\nkind = "bcachefs"\ndevice = "UUID=${image.uuid}"\nsources = ["prompt"]\n`;
  await using machine = await start(name, image, { files: { "/etc/latchkey/latchkey.toml": configuration } });
  await machine.expect(/latchkey: the root filesystem was refused: system: .* is not encrypted: refused/, {
    unless: [],
  });
  await machine.expect("Rebooting automatically due to panic= boot argument", { unless: [] });
  expect(await machine.off()).toBe("guest-reset");
  expect(machine.console.text).not.toContain(rootSays.reached);
});

vmCase("when latchkey is killed at its question, the system's own question opens the root", async (name) => {
  const image = await bcachefsImage(await guest("initramfs-tools"), { passphrase: PASSPHRASE });
  await using machine = await start(name, image, {
    files: killInInitramfs({ process: "latchkey", path: "/usr/bin/latchkey", after: 4000 }),
  });
  await machine.expect(QUESTION);
  await machine.expect("vm: fault: killed latchkey");
  await machine.expect("latchkey: it died (status 137)");
  await machine.expect(STOCK_QUESTION);
  await machine.sendLine(PASSPHRASE);
  await machine.realRoot();
});

vmCase("with a stripped binary in the image the system's own question opens the root", async (name) => {
  const image = await bcachefsImage(await guest("initramfs-tools"), { passphrase: PASSPHRASE });
  await using machine = await start(name, image, { files: await damagedBinary("stripped", binary) });
  await machine.expect(DAMAGED);
  await machine.expect(STOCK_QUESTION);
  await machine.sendLine(PASSPHRASE);
  await machine.realRoot();
});

vmCase("with a program that never comes back in its place, cryptroot asks and opens the root", async (name) => {
  await using machine = await startLuks(name, await luksRoot(), { files: await damagedBinary("hanging", binary) });
  await machine.expect(DAMAGED);
  await machine.expect(LUKS_STOCK_QUESTION);
  await machine.sendLine(PASSPHRASE);
  expect((await machine.realRoot()).mounts.join("\n")).toContain(CRYPTROOT);
});

vmCase("rd.latchkey=0 keeps latchkey out of the boot", async (name) => {
  const image = await bcachefsImage(await guest("initramfs-tools"), { passphrase: PASSPHRASE });
  await using machine = await start(name, image, { commandLine: [`root=UUID=${image.uuid}`, "rd.latchkey=0"] });
  await machine.expect("switched off by rd.latchkey=0");
  await machine.expect(STOCK_QUESTION);
  await machine.sendLine(PASSPHRASE);
  expect((await machine.realRoot()).report).toBeUndefined();
});

vmCase("a TPM opens the bcachefs root with nobody there", async (name) => {
  using tpm = tpmState();
  const image = await bcachefsImage(await guest("initramfs-tools"), { passphrase: PASSPHRASE });
  await using machine = await start(name, image, {
    tpm: { state: tpm.directory },
    files: { "/etc/latchkey/root.jwe": await tpmToken(PASSPHRASE, [14]), ...patient },
  });
  const report = (await machine.realRoot()).report as Report;
  expect(report.volumes).toMatchObject([{ name: "root", standing: "opened", opened_by: "clevis" }]);
  expect(machine.console.text).not.toMatch(QUESTION);
});

/** Answers as cryptroot-unlock does in a session over SSH, and says how that ended. */
const unlockFromAfar = (passphrase: string): Files => ({
  ...earlyScript(
    "vm-afar",
    `(
  while ! grep -q 'Wrong passphrase' /run/vm-answers 2>/dev/null; do
    sleep 1
    printf '%s' 'not the passphrase' | cryptroot-unlock >/run/vm-answers 2>&1
    [ $? = 1 ] && continue
  done
  echo 'vm: afar: told that it was wrong' >/dev/ttyS0
  printf '%s' '${passphrase}' | cryptroot-unlock
  echo "vm: afar: status $?" >/dev/ttyS0
) &
`,
  ),
});

vmCase("LUKS: cryptroot-unlock is told that its passphrase is wrong, and opens with the right one", async (name) => {
  await using machine = await startLuks(name, await luksRoot(), { files: unlockFromAfar(PASSPHRASE) });
  await machine.expect(/Passphrase for cryptroot \(LUKS2/);
  await machine.expect(/Wrong passphrase for cryptroot .*2nd try/);
  await machine.expect("vm: afar: told that it was wrong");
  await machine.expect("vm: afar: status 0");
  const { mounts, report } = await machine.realRoot();
  expect(mounts.join("\n")).toContain(CRYPTROOT);
  expect(openedBy(report)).toBe("prompt");
  expect(machine.console.text).not.toContain(LUKS_STOCK_QUESTION);
});

for (const token of [{ by: "clevis" }, { by: "latchkey", binary }] as const) {
  vmCase(`LUKS: a TPM token in the header, made by ${token.by}, opens the root with nobody there`, async (name) => {
    using tpm = tpmState();
    await using machine = await startLuks(name, await luksRoot(token), {
      tpm: { state: tpm.directory },
      files: patient,
      // Beside clevis' own scripts, as where latchkey takes over from it.
      ...(token.by === "clevis" ? { initrd: { absent: [] } } : {}),
    });
    const { mounts, report } = await machine.realRoot();
    expect(mounts.join("\n")).toContain(CRYPTROOT);
    expect(openedBy(report)).toBe("clevis");
    expect(machine.console.text).not.toMatch(/passphrase for|unlock disk/i);
  });
}

vmCase("LUKS: when latchkey is killed at its question, cryptroot asks and opens the root", async (name) => {
  await using machine = await startLuks(name, await luksRoot(), {
    files: killInInitramfs({ process: "latchkey", path: "/usr/bin/latchkey", after: 4000 }),
  });
  await machine.expect("Passphrase for cryptroot");
  await machine.expect("latchkey: it died (status 137)");
  await machine.expect(LUKS_STOCK_QUESTION);
  await machine.sendLine(PASSPHRASE);
  expect((await machine.realRoot()).mounts.join("\n")).toContain(CRYPTROOT);
});

vmCase("LUKS: crypttab's keyscript=latchkey gives cryptroot a proven key", async (name) => {
  await using machine = await startLuks(name, await luksRoot(), { options: "luks,initramfs,keyscript=latchkey" });
  await machine.expect(/Passphrase for cryptroot \(LUKS2/);
  await machine.sendLine("not the passphrase");
  await machine.expect(/Wrong passphrase for cryptroot .*2nd try/);
  await machine.sendLine(PASSPHRASE);
  await machine.expect("cryptroot: set up successfully");
  const { mounts, report } = await machine.realRoot();
  expect(mounts.join("\n")).toContain(CRYPTROOT);
  expect(openedBy(report)).toBe("prompt");
});

vmCase(
  "LUKS: a Tang server opens the root over a network that comes for it, and goes before the root runs",
  async (name) => {
    using tang = startTangd(tangKeys);
    const anyTangToken = await Bun.file(join(repository, "test/fixtures/clevis/tokens/tang-a.jwe")).text();
    await using machine = await startLuks(name, await luksRoot(), {
      // The image is made with a token that needs what this one needs, so that it is the same at every run.
      initrd: { config: { "cryptroot.jwe": anyTangToken } },
      files: { "/etc/latchkey/cryptroot.jwe": await tangToken(PASSPHRASE, tang.port), ...patient },
      // A network card.
      guestPorts: [22],
      atRoot: "shell",
    });
    const { mounts, report } = await machine.realRoot();
    expect(mounts.join("\n")).toContain(CRYPTROOT);
    expect(openedBy(report)).toBe("clevis");
    expect(await machine.shell("ip -o link show up | grep -v ': lo:' | wc -l")).toBe("0\n");
    expect(await machine.shell("ip -o address | grep -v ': lo ' | wc -l")).toBe("0\n");
  },
);

/** A mirror of two disks that hold the same, made in the guest: this needs a kernel with md, and the disks go with the machine. */
const mirrored: Files = earlyScript(
  "vm-mirror",
  `until [ -b /dev/vda ] && [ -b /dev/vdb ]; do sleep 0.1; done
# The superblock of this version is at the end, so that what the disks hold stays where it is.
mdadm --create /dev/md/vm --level=1 --raid-devices=2 --metadata=1.0 --assume-clean --run /dev/vda /dev/vdb
mdadm --stop /dev/md/vm
udevadm trigger --action=add --subsystem-match=block
udevadm settle
`,
);

vmCase("LUKS on RAID with LVM inside, as Debian's installer makes it, opens with one answer", async (name) => {
  const debian = await guest("initramfs-tools-stacked");
  const { members, uuid } = await luksImage(debian, { volumeGroup: "vm-vg" });
  const [disk] = members;
  if (!disk) throw new Error("an image has a disk");
  await using machine = await startLuks(
    name,
    { uuid, members: [disk] },
    {
      guest: "initramfs-tools-stacked",
      files: mirrored,
      initrd: { drivers: [...smallMachineDrivers, "raid1"] },
      disks: ["raid0", "raid1"].map((serial) => ({ file: disk.file, serial })),
      commandLine: ["root=/dev/mapper/vm--vg-root"],
    },
  );
  await machine.expect(/Passphrase for cryptroot \(LUKS2 on \/dev\/md/);
  await machine.sendLine(PASSPHRASE);
  const { mounts, report } = await machine.realRoot();
  expect(mounts.join("\n")).toContain("/dev/mapper/vm--vg-root / ext4");
  expect(openedBy(report)).toBe("prompt");
  expect(machine.console.text).not.toContain(LUKS_STOCK_QUESTION);
});

vmCase(
  "an image made by `latchkey install`, as its owner makes it, is found well by `latchkey check`, and boots",
  async (name) => {
    const debian = await guest("initramfs-tools");
    const image = await bcachefsImage(debian, { passphrase: PASSPHRASE });
    const initrd = { command: installAndCheck(debian.stack, debian.kernelVersion) };
    await using machine = await start(name, image, { initrd });
    await machine.expect(QUESTION);
    await machine.sendLine(PASSPHRASE);
    expect(((await machine.realRoot()).report as Report).outcome).toBe("done");
    expectChecked(
      await buildInitrd(debian, { stack: "initramfs-tools", binary, absent: withoutClevis, ...initrd }),
      debian.kernelVersion,
    );
  },
);
