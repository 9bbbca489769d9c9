/** Unlocking from afar, with the real ssh client: what only a boot with a network shows. */
import { expect } from "bun:test";
import { join } from "node:path";
import type { Report } from "../../src/unlock/report.ts";
import { repository } from "./cache.ts";
import { vmCase } from "./case.ts";
import { journalOnFailure, kill } from "./fault.ts";
import { type Files, overlay } from "./files.ts";
import { guest } from "./guest/chroot.ts";
import { bcachefsImage, PASSPHRASE } from "./images.ts";
import { luksImage } from "./images-luks.ts";
import { buildInitrd } from "./initrd.ts";
import { Machine, type MachineOptions } from "./machine.ts";
import { seconds } from "./patience.ts";
import {
  dropbearInitramfs,
  onlyVirtioNet,
  remoteConfig,
  type Server,
  withoutClevis,
  withoutDropbearInitramfs,
} from "./remote-image.ts";
import { GUEST_ADDRESS, SSH_PORT, SshClient, type SshKeys, silentConnections, sshKeys } from "./ssh.ts";

const binary = process.env["LATCHKEY_BINARY"] ?? join(repository, "dist/latchkey");
const CONSOLE_QUESTION = /Passphrase for root/;
const QUESTION = /Passphrase for root \([^)]*\): $/;

function configuration(server: Server, uuid: string): string {
  return `[remote]
server = "${server}"

[volumes.root]
kind = "bcachefs"
device = "UUID=${uuid}"
sources = ["prompt", "remote"]
`;
}

interface Differences extends Partial<MachineOptions> {
  readonly files?: Files;
  readonly hasNetwork?: boolean;
}

/** A dracut machine with an encrypted bcachefs root that can be reached over SSH. */
async function dracutMachine(
  name: string,
  server: Server,
  { files = {}, hasNetwork = true, ...differences }: Differences = {},
): Promise<{ machine: Machine; keys: SshKeys }> {
  const dracut = await guest("dracut");
  const image = await bcachefsImage(dracut, { passphrase: PASSPHRASE });
  const keys = await sshKeys(dracut);
  const machine = await Machine.start({
    name,
    guest: dracut,
    initrd: await buildInitrd(dracut, {
      stack: "dracut",
      binary,
      config: remoteConfig(keys, server, configuration(server, image.uuid)),
      system: onlyVirtioNet,
    }),
    overlays: [overlay({ ...files, ...journalOnFailure })],
    disks: image.members.map((file, index) => ({ file, serial: `root${index}` })),
    commandLine: [`root=UUID=${image.uuid}`, "rootfstype=bcachefs"],
    ...(hasNetwork ? { guestPorts: [SSH_PORT] } : {}),
    ...differences,
  });
  return { machine, keys };
}

/** The console says where to come, and with which key. */
async function announced(machine: Machine, keys: SshKeys): Promise<void> {
  const line = `remote: ssh -p ${SSH_PORT} root@${GUEST_ADDRESS}, host key ${keys.hostFingerprint}`;
  // In whatever order: the network may be there before the disk is.
  await machine.expect(new RegExp(`(?=[^]*${CONSOLE_QUESTION.source})(?=[^]*${RegExp.escape(line)})`));
}

vmCase("dracut, OpenSSH: a session can answer, and nothing else; it is told wrong, then right", async (name) => {
  const { machine: started, keys } = await dracutMachine(name, "openssh", { atRoot: "shell" });
  await using machine = started;
  await announced(machine, keys);
  using ssh = new SshClient(machine, keys);

  const stranger = await ssh.run({ identity: "stranger" });
  expect(stranger).toMatchObject({ status: 255, stdout: "" });
  expect(stranger.stderr).toContain("Permission denied (publickey)");

  // Whatever is asked for, `latchkey answer` runs, finds no passphrase on its standard input, and says so.
  const nothingGiven = { status: 64, stdout: "" };
  for (const command of [["sh"], ["echo", "here"], ["/usr/lib/openssh/sftp-server"]]) {
    const ran = await ssh.run({ command });
    expect(ran).toMatchObject(nothingGiven);
    expect(ran.stderr).toContain("answer/nothing-given");
  }
  expect((await ssh.run({ options: ["-s"], command: ["sftp"] })).status).not.toBe(0);
  const listening = await ssh.run({ options: ["-N", "-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:22"] });
  expect(listening.status).toBe(255);
  const reaching = await ssh.run({ options: ["-W", "127.0.0.1:22"] });
  expect(reaching.status).toBe(255);
  expect(reaching.stderr).toMatch(/administratively prohibited|channel 0: open failed/);

  const waiting = ssh.session();
  const person = ssh.session();
  await waiting.shows(QUESTION);
  await person.shows(QUESTION);
  expect(person.seen).toMatch(/latchkey on .*, \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC, [\d.]+ s after the start/);
  expect(person.seen).toMatch(/root +closed +bcachefs on \/dev\/vda/);
  await person.types("not the passphrase");
  await person.shows(/wrong passphrase for root[\s\S]*Passphrase for root \([^)]*\): $/);
  await person.types(PASSPHRASE);
  expect(await person.ended()).toBe(0);
  expect(person.seen).toContain("right: root is open");
  expect(person.seen).toContain("everything is open");
  expect(await waiting.ended()).toBe(0);
  expect(waiting.seen).toContain("everything is open");
  expect(person.seen + waiting.seen).not.toContain(PASSPHRASE);

  const root = await machine.realRoot();
  expect(root.mounts[0]).toContain("/dev/vda / bcachefs");
  const report = root.report as Report;
  expect(report.volumes).toMatchObject([{ name: "root", standing: "opened", opened_by: "remote" }]);
  expect(report.attempts.map(({ source, verdict }) => [source, verdict])).toEqual([
    ["remote", "wrong-credential"],
    ["remote", "opened"],
  ]);
  expect(report.events.map(({ text }) => text)).toContain("answer from 10.0.2.2: opened root");
  // Nothing of it reaches the real root: no server, no session, no address.
  const left = await machine.shell("ps; ip -o address show");
  expect(left).not.toMatch(/sshd|dropbear|latchkey/);
  expect(left).not.toContain(GUEST_ADDRESS);
});

vmCase(
  "dracut, dropbear: a piped passphrase; a session that dies, and connections that say nothing, harm nobody",
  async (name) => {
    const { machine: started, keys } = await dracutMachine(name, "dropbear");
    await using machine = started;
    await announced(machine, keys);
    using ssh = new SshClient(machine, keys);
    expect((await ssh.run({ identity: "stranger" })).stderr).toContain("Permission denied (publickey)");
    expect((await ssh.run({ options: ["-N", "-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:22"] })).status).toBe(
      255,
    );
    expect((await ssh.run({ options: ["-W", "127.0.0.1:22"] })).status).toBe(255);

    const wrong = await ssh.run({ input: "not the passphrase\n" });
    expect(wrong).toMatchObject({ status: 2, stdout: "" });
    expect(wrong.stderr).toContain("answer/wrong: wrong passphrase for root");

    const dying = ssh.session();
    await dying.shows(QUESTION);
    await dying.begins(PASSPHRASE.slice(0, 10));
    dying.kill();

    using silent = await silentConnections(ssh.port, 200);
    await machine.sendLine("not the passphrase either");
    await machine.expect(/Wrong passphrase for root \(.*\), try again/);
    silent[Symbol.dispose]();

    // dropbear counts the connections of an address that have not logged in, and needs a moment to see that they are gone.
    let right = await ssh.run({ input: PASSPHRASE });
    for (let tries = 0; right.status === 255 && tries < 20; tries += 1) {
      await Bun.sleep(1000);
      right = await ssh.run({ input: PASSPHRASE });
    }
    expect(right).toMatchObject({ status: 0, stdout: "right: root is open\n" });
    const report = (await machine.realRoot()).report as Report;
    expect(report.volumes).toMatchObject([{ standing: "opened", opened_by: "remote" }]);
  },
);

vmCase("dracut: a session ends well when the console opens the root", async (name) => {
  const { machine: started, keys } = await dracutMachine(name, "openssh");
  await using machine = started;
  await announced(machine, keys);
  using ssh = new SshClient(machine, keys);
  const waiting = ssh.session();
  await waiting.shows(QUESTION);
  await machine.sendLine("not the passphrase");
  await waiting.shows(/prompt +root: wrong passphrase[\s\S]*Passphrase for root \([^)]*\): $/);
  await machine.sendLine(PASSPHRASE);
  expect(await waiting.ended()).toBe(0);
  expect(waiting.seen).toContain("everything is open");
  const report = (await machine.realRoot()).report as Report;
  expect(report.volumes).toMatchObject([{ standing: "opened", opened_by: "prompt" }]);
});

vmCase("dracut: when latchkey dies, a session answers the question that takes its place", async (name) => {
  const { machine: started, keys } = await dracutMachine(name, "openssh", {
    files: kill({ process: "latchkey", after: seconds(8) }),
  });
  await using machine = started;
  await machine.expect("vm: fault: killed latchkey");
  await machine.expect(/asking for the passphrase of \/dev\/disk\/by-uuid/);
  using ssh = new SshClient(machine, keys);
  await ssh.isUp();
  const session = ssh.session();
  await session.shows(/Asked by another program: Passphrase for \/dev\/disk\/by-uuid\/[^ ]*: $/);
  await session.types("not the passphrase");
  await session.shows(/Asked by another program: That was not the passphrase[\s\S]*: $/);
  await session.types(PASSPHRASE);
  await machine.realRoot();
});

vmCase("dracut: without a network the console asks and opens as ever", async (name) => {
  const { machine: started } = await dracutMachine(name, "openssh", { hasNetwork: false });
  await using machine = started;
  await machine.expect(CONSOLE_QUESTION);
  await machine.sendLine("not the passphrase");
  await machine.expect(/Wrong passphrase for root \(.*\), try again/);
  await machine.sendLine(PASSPHRASE);
  const report = (await machine.realRoot()).report as Report;
  expect(report.volumes).toMatchObject([{ standing: "opened", opened_by: "prompt" }]);
});

/** A LUKS root in an image of initramfs-tools, with dropbear-initramfs set up as people have it. */
async function debianMachine(name: string, hasNetwork: boolean): Promise<{ machine: Machine; keys: SshKeys }> {
  const debian = await guest("initramfs-tools-ssh");
  const keys = await sshKeys(await guest("dracut"));
  const luks = await luksImage(debian);
  const [member] = luks.members;
  const machine = await Machine.start({
    name,
    guest: debian,
    initrd: await buildInitrd(debian, {
      stack: "initramfs-tools",
      binary,
      absent: withoutClevis,
      config: { "/latchkey.toml": '[remote]\nstart = "always"\n' },
      system: {
        ...dropbearInitramfs(keys),
        "/etc/crypttab": `root UUID=${member?.uuid} none luks,initramfs\n`,
        "/etc/fstab": `UUID=${luks.uuid} / ext4 defaults 0 1\n`,
      },
    }),
    disks: [{ file: member?.file ?? "", serial: "root0" }],
    commandLine: [`root=UUID=${luks.uuid}`],
    ...(hasNetwork ? { guestPorts: [SSH_PORT] } : {}),
  });
  return { machine, keys };
}

vmCase("initramfs-tools, dropbear-initramfs: only the forced command changes, and a LUKS root opens", async (name) => {
  const { machine: started, keys } = await debianMachine(name, true);
  await using machine = started;
  await announced(machine, keys);
  using ssh = new SshClient(machine, keys);
  expect((await ssh.run({ identity: "stranger" })).stderr).toContain("Permission denied (publickey)");
  expect((await ssh.run({ options: ["-W", "127.0.0.1:22"] })).status).toBe(255);
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
  expect(root.mounts.join("\n")).toContain("/dev/mapper/root / ext4");
  // The file system that root= names lies in it, and is the system's to mount.
  expect((root.report as Report).volumes[0]).toMatchObject({ name: "root", standing: "opened", opened_by: "remote" });
});

vmCase(
  "initramfs-tools, dropbear-initramfs: without a network the console opens, and nothing waits for one",
  async (name) => {
    const { machine: started } = await debianMachine(name, false);
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
  "initramfs-tools: where nothing else brings an SSH server, latchkey brings one when it is time to ask",
  async (name) => {
    const debian = await guest("initramfs-tools-ssh");
    const keys = await sshKeys(await guest("dracut"));
    const image = await bcachefsImage(debian, { passphrase: PASSPHRASE });
    await using machine = await Machine.start({
      name,
      guest: debian,
      initrd: await buildInitrd(debian, {
        stack: "initramfs-tools",
        binary,
        absent: [...withoutClevis, ...withoutDropbearInitramfs],
        config: remoteConfig(keys, "dropbear", configuration("dropbear", image.uuid)),
      }),
      disks: image.members.map((file, index) => ({ file, serial: `root${index}` })),
      commandLine: [`root=UUID=${image.uuid}`],
      guestPorts: [SSH_PORT],
      atRoot: "shell",
    });
    await announced(machine, keys);
    using ssh = new SshClient(machine, keys);
    expect((await ssh.run({ identity: "stranger" })).stderr).toContain("Permission denied (publickey)");
    expect((await ssh.run({ options: ["-W", "127.0.0.1:22"] })).status).toBe(255);
    expect(await ssh.run({ input: "not the passphrase\n" })).toMatchObject({ status: 2 });
    expect(await ssh.run({ input: `${PASSPHRASE}\n` })).toMatchObject({ status: 0, stdout: "right: root is open\n" });
    const root = await machine.realRoot();
    expect(root.mounts.join("\n")).toContain("/dev/vda / bcachefs");
    expect((root.report as Report).volumes).toMatchObject([{ standing: "opened", opened_by: "remote" }]);
    const left = await machine.shell("ps; ip -o address show");
    expect(left).not.toMatch(/dropbear|latchkey|remote-start/);
    expect(left).not.toContain(GUEST_ADDRESS);
  },
);
