/** Unlocking from afar in an image of initramfs-tools, with the real ssh client: with dropbear-initramfs, and without. */
import { expect } from "bun:test";
import type { Report } from "../../src/unlock/report.ts";
import { vmCase } from "./case.ts";
import { killInInitramfs } from "./fault.ts";
import { PASSPHRASE } from "./images.ts";
import {
  announced,
  CONSOLE_QUESTION,
  debianMachine,
  plainDebianMachine,
  QUESTION,
  STATIC_ADDRESS,
  WRONG_PASSPHRASE,
} from "./remote-machines.ts";
import { SshClient, silentConnections } from "./ssh.ts";

const ROOT = "/dev/mapper/root / ext4";

vmCase("initramfs-tools, dropbear-initramfs: only the forced command changes, and a LUKS root opens", async (name) => {
  const { machine: started, keys, log } = await debianMachine(name);
  await using machine = started;
  // The package's own host keys, of which one is the test's: the same at the first image and at the second.
  const fingerprints = [...log.matchAll(/fingerprint: (\S+)/g)].map(([, fingerprint]) => fingerprint);
  expect(fingerprints).toContain(keys.hostFingerprint);
  expect(fingerprints.slice(0, fingerprints.length / 2)).toEqual(fingerprints.slice(fingerprints.length / 2));
  await announced(machine, keys.hostFingerprint);
  using ssh = new SshClient(machine, keys);
  expect((await ssh.run({ identity: "stranger" })).stderr).toContain("Permission denied (publickey)");
  expect((await ssh.run({ options: ["-W", "127.0.0.1:22"] })).status).toBe(255);
  expect((await ssh.run({ options: ["-N", "-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:22"] })).status).toBe(
    255,
  );
  expect(await ssh.run({ command: ["sh"] })).toMatchObject({ status: 64, stdout: "" });
  const waiting = ssh.session();
  await waiting.shows(QUESTION);
  // As people have it in their scripts.
  const wrong = await ssh.run({ command: ["cryptroot-unlock"], input: "not the passphrase\n" });
  expect(wrong).toMatchObject({ status: 2, stdout: "" });
  const person = ssh.session();
  await person.shows(QUESTION);
  await person.types("not the passphrase either");
  await person.shows(/wrong passphrase for root[\s\S]*Passphrase for root \([^)]*\): $/);
  await person.types(PASSPHRASE);
  expect(await person.ended()).toBe(0);
  expect(await waiting.ended()).toBe(0);
  const root = await machine.realRoot();
  expect(root.mounts.join("\n")).toContain(ROOT);
  // The file system that root= names lies in it, and is the system's to mount.
  expect((root.report as Report).volumes[0]).toMatchObject({ name: "root", standing: "opened", opened_by: "remote" });
});

vmCase(
  "initramfs-tools, dropbear-initramfs: silent connections harm nobody, and a session ends well when the console opens the root",
  async (name) => {
    const { machine: started, keys } = await debianMachine(name);
    await using machine = started;
    await announced(machine, keys.hostFingerprint);
    using ssh = new SshClient(machine, keys);
    const waiting = ssh.session();
    await waiting.shows(QUESTION);
    using _ = await silentConnections(ssh.port, 200);
    await machine.sendLine("not the passphrase");
    await waiting.shows(/prompt +root: wrong passphrase[\s\S]*Passphrase for root \([^)]*\): $/);
    await machine.sendLine(PASSPHRASE);
    expect(await waiting.ended()).toBe(0);
    expect(waiting.seen).toContain("everything is open");
    const root = await machine.realRoot();
    expect((root.report as Report).volumes[0]).toMatchObject({ name: "root", standing: "opened", opened_by: "prompt" });
  },
);

vmCase("initramfs-tools: when latchkey dies, a session answers Debian's askpass", async (name) => {
  const { machine: started, keys } = await debianMachine(name, {
    files: {
      ...killInInitramfs({ process: "latchkey", path: "/usr/bin/latchkey", after: 4000 }),
      // The package has a script in this folder, which is to run as well.
      "/scripts/init-premount/ORDER": ["vm-fault", "dropbear"]
        .map((one) => `/scripts/init-premount/${one} "$@"\n`)
        .join(""),
    },
  });
  await using machine = started;
  await machine.expect("latchkey: it died (status 137)");
  await machine.expect("Please unlock disk root:");
  using ssh = new SshClient(machine, keys);
  await ssh.isUp();
  const session = ssh.session();
  await session.shows(/Asked by another program: Please unlock disk root.*: $/);
  await session.types("not the passphrase");
  await session.shows(/(?:Asked by another program: Please unlock disk root[\s\S]*){2}: $/);
  await session.types(PASSPHRASE);
  expect(await session.ended()).toBe(0);
  expect((await machine.realRoot()).mounts.join("\n")).toContain(ROOT);
});

vmCase(
  "initramfs-tools, dropbear-initramfs: without a network the console opens, and nothing waits for one",
  async (name) => {
    const { machine: started } = await debianMachine(name, { hasNetwork: false });
    await using machine = started;
    await machine.expect(CONSOLE_QUESTION);
    await machine.sendLine(PASSPHRASE);
    const asked = machine.console.now;
    await machine.realRoot();
    // dropbear-initramfs alone waits a minute for its network here, whatever the speed of the machine.
    expect(machine.console.now - asked).toBeLessThan(60_000);
  },
);

vmCase(
  "initramfs-tools, OpenSSH, an address of its own on one card of two: latchkey brings the server when it is time to ask",
  async (name) => {
    const { machine: started, keys } = await plainDebianMachine(name, "openssh", { isStatic: true, atRoot: "shell" });
    await using machine = started;
    await announced(machine, keys.hostFingerprint, STATIC_ADDRESS);
    using ssh = new SshClient(machine, keys);
    expect((await ssh.run({ identity: "stranger" })).stderr).toContain("Permission denied (publickey)");
    expect((await ssh.run({ options: ["-W", "127.0.0.1:22"] })).status).toBe(255);
    expect(await ssh.run({ input: `${WRONG_PASSPHRASE}\n` })).toMatchObject({ status: 2 });
    const dying = ssh.session();
    await dying.shows(QUESTION);
    await dying.begins(PASSPHRASE.slice(0, 10));
    dying.kill();
    expect(await ssh.run({ input: `${PASSPHRASE}\n` })).toMatchObject({ status: 0, stdout: "right: root is open\n" });
    const root = await machine.realRoot();
    expect(root.mounts.join("\n")).toContain("/dev/vda / bcachefs");
    expect((root.report as Report).volumes).toMatchObject([{ standing: "opened", opened_by: "remote" }]);
    const left = await machine.shell("ps; ip -o address show");
    expect(left).not.toMatch(/sshd|dropbear|latchkey|remote-start/);
    expect(left).not.toContain(STATIC_ADDRESS);
    expect(machine.console.text + left).not.toContain("10.0.3.");
  },
);
