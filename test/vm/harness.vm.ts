/**
 * The harness tested by itself, on machines without latchkey: what the other cases build on holds, and each check can fail. The first case
 * is also the stock way that the benchmarks compare with.
 */
import { expect } from "bun:test";
import { vmCase } from "./case.ts";
import { hook, journalOnFailure, kill, unit } from "./fault.ts";
import { type Files, overlay } from "./files.ts";
import { guest } from "./guest/chroot.ts";
import { type BcachefsImage, bcachefsImage, PASSPHRASE } from "./images.ts";
import { Machine, type MachineOptions } from "./machine.ts";
import { describeFindings, findInMemory } from "./memory.ts";
import { rootSays } from "./root-tree.ts";
import { STOCK_QUESTION, stockFiles, stockInitrd } from "./stock.ts";

type Differences = Partial<Omit<MachineOptions, "name" | "guest" | "initrd" | "overlays">>;

async function stockMachine(name: string, image: BcachefsImage, files: Files, differences: Differences = {}) {
  const dracut = await guest("dracut");
  return Machine.start({
    name,
    guest: dracut,
    initrd: await stockInitrd(dracut),
    overlays: [overlay({ ...files, ...journalOnFailure })],
    disks: image.members.map((file, index) => ({ file, serial: `root${index}` })),
    commandLine: [`root=UUID=${image.uuid}`, "rootfstype=bcachefs"],
    ...differences,
  });
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Secrets that are left in the guest's memory on purpose, each in its own form, with the name of the form. */
const planted = {
  raw: "planted-plainly-0815",
  "UTF-16LE": "planted-in-two-bytes-0815",
  "base64, alignment 1": "planted-in-base64-0815",
} as const;

const plantedFile = Buffer.concat([
  bytes(planted.raw),
  bytes("\n"),
  Buffer.from(planted["UTF-16LE"], "utf16le"),
  bytes("\n"),
  bytes(Buffer.from(`x${planted["base64, alignment 1"]}`).toString("base64")),
]);

/** /run moves into the real root, while the initrd's own files are freed. */
const plant: Files = {
  "/etc/vm-planted": plantedFile,
  ...hook("pre-pivot", "plant", "cat /etc/vm-planted >/run/vm-planted\n"),
};

vmCase(
  "the stock way opens an encrypted root, and the memory search finds what was planted and nothing else",
  async (name) => {
    const image = await bcachefsImage(await guest("dracut"), { passphrase: PASSPHRASE });
    await using machine = await stockMachine(name, image, { ...stockFiles, ...plant }, { atRoot: "hold" });
    await machine.expect(STOCK_QUESTION);
    await machine.sendLine(PASSPHRASE);
    const root = await machine.realRoot();
    expect(root.mounts[0]).toContain("/dev/vda / bcachefs");
    expect(root.report).toBeUndefined();

    await machine.expect(rootSays.holding);
    const memory = await machine.saveMemory();
    for (const [encoding, secret] of Object.entries(planted)) {
      const findings = await findInMemory(memory, bytes(secret), "planted");
      expect(findings.filter((one) => one.isWhole).map((one) => one.encoding)).toContain(encoding);
      expect(describeFindings(findings)).not.toContain(secret);
    }
    expect(await findInMemory(machine, crypto.getRandomValues(new Uint8Array(24)), "never typed")).toEqual([]);
    // Systemd's console agent leaves a copy in some boots and none in others: told, not judged.
    const copies = await findInMemory(memory, bytes(PASSPHRASE), "the passphrase");
    console.log(`the stock way left ${copies.length} copies of the passphrase\n${describeFindings(copies)}`);
  },
);

vmCase("a wrong passphrase thrice ends in a power-off that shows the journal", async (name) => {
  const image = await bcachefsImage(await guest("dracut"), { passphrase: PASSPHRASE });
  await using machine = await stockMachine(name, image, stockFiles);
  for (const _ of [1, 2, 3]) {
    await machine.expect(STOCK_QUESTION);
    await machine.sendLine("not the passphrase");
  }
  await machine.expect("incorrect passphrase", { unless: [] });
  expect(await machine.off()).toBe("guest-shutdown");
  // An expectation that can no longer come true ends with the machine, not at its limit.
  const started = performance.now();
  await expect(machine.expect(rootSays.reached, { unless: [] })).rejects.toThrow("the machine is off");
  expect(performance.now() - started).toBeLessThan(5000);
});

vmCase("two members mount together, also when one of them comes late", async (name) => {
  const image = await bcachefsImage(await guest("dracut"), { passphrase: PASSPHRASE, members: 2 });
  const disks = image.members.map((file, index) => ({ file, serial: `root${index}`, isLate: index === 1 }));
  await using machine = await stockMachine(name, image, stockFiles, { disks });
  await machine.expect(STOCK_QUESTION);
  await machine.plug("root1");
  await machine.sendLine(PASSPHRASE);
  expect((await machine.realRoot()).mounts[0]).toMatch(/\/dev\/vda:\/dev\/vdb|\/dev\/vdb:\/dev\/vda/);
});

vmCase("a root on a late USB disk boots, with a TPM and a network card, and its shell can be asked", async (name) => {
  const image = await bcachefsImage(await guest("dracut"), {});
  const disks = image.members.map((file) => ({ file, serial: "stick", bus: "usb" as const, isLate: true }));
  const files = hook("initqueue", "waiting", "echo 'vm: waiting for the stick' >/dev/ttyS0\n");
  await using machine = await stockMachine(name, image, files, { disks, tpm: {}, guestPorts: [22], atRoot: "shell" });
  await machine.expect("vm: waiting for the stick");
  await machine.plug("stick");
  expect((await machine.realRoot()).mounts[0]).toContain("/dev/sda / bcachefs");
  expect(await machine.shell("ls /dev/tpmrm0")).toContain("/dev/tpmrm0");
  expect(await machine.shell("ls /sys/class/net")).toMatch(/^e(th|n)/m);
  expect(machine.forwarded(22)).toBeGreaterThan(1023);
  await expect(machine.shell("false")).rejects.toThrow("status 1");
});

/** A stand-in for the program that a fault is aimed at: comm is the script's name. */
const victim: Files = {
  "/usr/bin/latchkey": { content: "#!/bin/sh\nwhile :; do sleep 1; done\n", mode: 0o755 },
  ...unit("victim.service", "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/usr/bin/latchkey\n"),
};

vmCase("a fault kills its process, and the reset button starts the machine again", async (name) => {
  const image = await bcachefsImage(await guest("dracut"), {});
  const files = { ...victim, ...kill({ process: "latchkey", after: 300 }) };
  await using machine = await stockMachine(name, image, files);
  await machine.expect("vm: fault: killed latchkey");
  await machine.realRoot();
  expect(await machine.off()).toBe("guest-shutdown");
  await machine.reset();
  await machine.realRoot();
});
