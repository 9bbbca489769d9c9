/** An encrypted bcachefs root with latchkey in a dracut initrd: what only a boot shows. */
import { expect } from "bun:test";
import { join } from "node:path";
import type { Report } from "../../src/unlock/report.ts";
import { repository } from "./cache.ts";
import { vmCase } from "./case.ts";
import { damagedBinary, journalOnFailure, kill } from "./fault.ts";
import { type Files, overlay } from "./files.ts";
import { guest } from "./guest/chroot.ts";
import { type BcachefsImage, bcachefsImage, PASSPHRASE } from "./images.ts";
import { buildInitrd, type InitrdOptions, smallMachineDrivers } from "./initrd.ts";
import { expectChecked, installAndCheck } from "./install-and-check.ts";
import { Machine, type MachineOptions } from "./machine.ts";
import { describeFindings, findInMemory } from "./memory.ts";
import { rootSays } from "./root-tree.ts";

type Differences = Partial<Omit<MachineOptions, "name" | "guest" | "initrd" | "overlays">>;

const binary = join(repository, "dist/latchkey");
const QUESTION = /Passphrase for root/;
const ASKED_AGAIN = /Wrong passphrase for root \(.*\), try again \(2nd try\)/;
const FALLBACK = /asking for the passphrase of \/dev\/disk\/by-uuid\/[\s\S]*Passphrase for \/dev/;
const BOTH_MEMBERS = /\/dev\/vda:\/dev\/vdb|\/dev\/vdb:\/dev\/vda/;
const WRONG_PASSPHRASE = "grumpy Wombat 4 naps under violet fig";

/** An image made where bcachefs-tools are not installed: latchkey has to mount several members itself. */
const withoutTools: Partial<InitrdOptions> = {
  absent: ["/usr/sbin/bcachefs", "/usr/sbin/mount.bcachefs", "/usr/sbin/fsck.bcachefs"],
};

async function start(
  name: string,
  image: BcachefsImage,
  { files = {}, initrd = {}, ...differences }: Differences & { files?: Files; initrd?: Partial<InitrdOptions> } = {},
): Promise<Machine> {
  const dracut = await guest("dracut");
  return Machine.start({
    name,
    guest: dracut,
    initrd: await buildInitrd(dracut, { stack: "dracut", binary, ...initrd }),
    overlays: [overlay({ ...files, ...journalOnFailure })],
    disks: image.members.map((file, index) => ({ file, serial: `root${index}` })),
    commandLine: [`root=UUID=${image.uuid}`, "rootfstype=bcachefs"],
    ...differences,
  });
}

vmCase("the right passphrase opens the root, and the report reaches the running system", async (name) => {
  const image = await bcachefsImage(await guest("dracut"), { passphrase: PASSPHRASE });
  await using machine = await start(name, image);
  await machine.expect(QUESTION);
  await machine.sendLine(PASSPHRASE);
  const root = await machine.realRoot();
  expect(root.mounts[0]).toContain("/dev/vda / bcachefs");
  const report = root.report as Report;
  expect(report.outcome).toBe("done");
  expect(report.volumes).toMatchObject([{ name: "root", standing: "opened", opened_by: "prompt", uuid: image.uuid }]);
  expect(JSON.stringify(report)).not.toContain(PASSPHRASE);
});

vmCase("a wrong passphrase is said to be wrong, and the right one opens", async (name) => {
  const image = await bcachefsImage(await guest("dracut"), { passphrase: PASSPHRASE, label: "tank" });
  await using machine = await start(name, image, { commandLine: ["root=LABEL=tank", "rootfstype=bcachefs"] });
  await machine.expect(/Passphrase for root \(bcachefs "tank".*\)/);
  await machine.sendLine("not the passphrase");
  await machine.expect(ASKED_AGAIN);
  await machine.sendLine(PASSPHRASE);
  const report = (await machine.realRoot()).report as Report;
  expect(report.attempts.map(({ verdict }) => verdict)).toEqual(["wrong-credential", "opened"]);
});

vmCase("two members are mounted by the mount helper where the image has it", async (name) => {
  const image = await bcachefsImage(await guest("dracut"), { passphrase: PASSPHRASE, members: 2 });
  await using machine = await start(name, image);
  await machine.expect(/Passphrase for root \(.*2 devices\)/);
  await machine.sendLine(PASSPHRASE);
  expect((await machine.realRoot()).mounts[0]).toMatch(BOTH_MEMBERS);
});

vmCase("two members are mounted by latchkey where there are no bcachefs-tools", async (name) => {
  const image = await bcachefsImage(await guest("dracut"), { passphrase: PASSPHRASE, members: 2 });
  await using machine = await start(name, image, { initrd: withoutTools });
  await machine.expect(QUESTION);
  await machine.sendLine(PASSPHRASE);
  expect((await machine.realRoot()).mounts[0]).toMatch(BOTH_MEMBERS);
});

vmCase("a root device that comes late is waited for, and asked for when it is there", async (name) => {
  const image = await bcachefsImage(await guest("dracut"), { passphrase: PASSPHRASE });
  await using machine = await start(name, image, {
    disks: image.members.map((file) => ({ file, serial: "root0", isLate: true })),
  });
  await machine.expect(`latchkey: root: waiting for UUID=${image.uuid}`);
  await machine.plug("root0");
  await machine.expect(QUESTION);
  await machine.sendLine(PASSPHRASE);
  await machine.realRoot();
});

vmCase("a second member that comes late is waited for", async (name) => {
  const image = await bcachefsImage(await guest("dracut"), { passphrase: PASSPHRASE, members: 2 });
  await using machine = await start(name, image, {
    disks: image.members.map((file, index) => ({ file, serial: `root${index}`, isLate: index === 1 })),
    initrd: withoutTools,
  });
  await machine.expect(/latchkey: root: waiting for 1 of 2 members/);
  await machine.plug("root1");
  await machine.expect(QUESTION);
  await machine.sendLine(PASSPHRASE);
  expect((await machine.realRoot()).mounts[0]).toMatch(BOTH_MEMBERS);
});

vmCase(
  "an unencrypted root is refused where policy says encrypted, with the reason above the power-off",
  async (name) => {
    const image = await bcachefsImage(await guest("dracut"), {});
    const configuration = `[volumes.system]\nkind = "bcachefs"\ndevice = "UUID=${image.uuid}"\nsources = ["prompt"]\n`;
    await using machine = await start(name, image, { files: { "/etc/latchkey/latchkey.toml": configuration } });
    await machine.expect(/system: .* is not encrypted: refused/);
    await machine.expect("latchkey: the root filesystem was refused", { unless: [] });
    expect(await machine.off()).toBe("guest-shutdown");
    expect(machine.console.text).not.toContain(rootSays.reached);
  },
);

vmCase("an unencrypted root that nobody configured boots as it would without latchkey", async (name) => {
  const image = await bcachefsImage(await guest("dracut"), {});
  await using machine = await start(name, image, { commandLine: [`root=UUID=${image.uuid}`] });
  const root = await machine.realRoot();
  expect((root.report as Report).volumes).toMatchObject([{ standing: "unencrypted" }]);
});

vmCase("when latchkey is killed at its question, the system's own question opens the root", async (name) => {
  const image = await bcachefsImage(await guest("dracut"), { passphrase: PASSPHRASE });
  await using machine = await start(name, image, { files: kill({ process: "latchkey", after: 4000 }) });
  await machine.expect("vm: fault: killed latchkey");
  await machine.expect(FALLBACK);
  await machine.sendLine("not the passphrase");
  await machine.expect("That was not the passphrase");
  await machine.sendLine(PASSPHRASE);
  await machine.realRoot();
});

for (const damage of ["missing", "stripped", "truncated"] as const) {
  vmCase(`with a ${damage} binary in the image the system's own question opens the root`, async (name) => {
    const image = await bcachefsImage(await guest("dracut"), { passphrase: PASSPHRASE });
    await using machine = await start(name, image, { files: await damagedBinary(damage, binary) });
    await machine.expect(FALLBACK);
    await machine.sendLine(PASSPHRASE);
    await machine.realRoot();
  });
}

vmCase("a program that stands still ends itself, and the system's own question opens the root", async (name) => {
  const image = await bcachefsImage(await guest("dracut"), { passphrase: PASSPHRASE });
  // SIGSTOP freezes it whole, so the alarm cannot fire; systemd sees it stopped, not dead. SIGALRM is what the alarm sends.
  const files = kill({ process: "latchkey", after: 2000, signal: "ALRM" });
  await using machine = await start(name, image, { files });
  await machine.expect(FALLBACK);
  await machine.sendLine(PASSPHRASE);
  await machine.realRoot();
});

vmCase("rd.latchkey=0 keeps latchkey out of the boot", async (name) => {
  const image = await bcachefsImage(await guest("dracut"), { passphrase: PASSPHRASE });
  await using machine = await start(name, image, {
    commandLine: [`root=UUID=${image.uuid}`, "rootfstype=bcachefs", "rd.latchkey=0"],
  });
  await machine.expect("switched off by rd.latchkey=0");
  await machine.expect(FALLBACK);
  await machine.sendLine(PASSPHRASE);
  expect((await machine.realRoot()).report).toBeUndefined();
});

vmCase("after a wrong and a right answer no copy of either is left in memory", async (name) => {
  const image = await bcachefsImage(await guest("dracut"), { passphrase: PASSPHRASE });
  await using machine = await start(name, image, { atRoot: "hold" });
  await machine.expect(QUESTION);
  await machine.sendLine(WRONG_PASSPHRASE);
  await machine.expect(ASKED_AGAIN);
  await machine.sendLine(PASSPHRASE);
  await machine.realRoot();
  await machine.expect(rootSays.holding);
  const memory = await machine.saveMemory();
  for (const secret of [PASSPHRASE, WRONG_PASSPHRASE]) {
    const findings = await findInMemory(memory, new TextEncoder().encode(secret), "the passphrase");
    expect(describeFindings(findings)).toBe("");
  }
});

vmCase("an image made by `latchkey install dracut` is found well by `latchkey check`, and boots", async (name) => {
  const dracut = await guest("dracut");
  const image = await bcachefsImage(dracut, { passphrase: PASSPHRASE });
  const initrd = {
    command: installAndCheck(dracut.stack, dracut.kernelVersion),
    // As on a machine whose root is a virtio disk with a bcachefs: dracut asks this machine, which has none.
    system: {
      "/etc/dracut.conf.d/10-test.conf": `hostonly="no"\ncompress="zstd"\ndrivers+=" ${smallMachineDrivers.join(" ")} "\n`,
    },
  };
  await using machine = await start(name, image, { initrd });
  await machine.expect(QUESTION);
  await machine.sendLine(PASSPHRASE);
  expect(((await machine.realRoot()).report as Report).outcome).toBe("done");
  expectChecked(await buildInitrd(dracut, { stack: "dracut", binary, ...initrd }), dracut.kernelVersion);
});
