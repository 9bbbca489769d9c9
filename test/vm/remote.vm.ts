/** Unlocking from afar in dracut's initrd, with the real ssh client: what only a boot with a network shows. */
import { expect } from "bun:test";
import type { Report } from "../../src/unlock/report.ts";
import { vmCase } from "./case.ts";
import { kill } from "./fault.ts";
import { guest } from "./guest/chroot.ts";
import { PASSPHRASE } from "./images.ts";
import { luksImage } from "./images-luks.ts";
import type { Machine } from "./machine.ts";
import { describeFindings, findInMemory } from "./memory.ts";
import { seconds } from "./patience.ts";
import { CARD } from "./qemu-arguments.ts";
import {
  announced,
  CONSOLE_QUESTION,
  dracutLuksMachine,
  dracutMachine,
  QUESTION,
  STATIC_ADDRESS,
  WRONG_PASSPHRASE,
} from "./remote-machines.ts";
import { rootSays } from "./root-tree.ts";
import { GUEST_ADDRESS, SshClient, scannedHostKey, silentConnections } from "./ssh.ts";

/** What was typed in sessions is nowhere in the memory of the machine. */
async function expectForgotten(machine: Machine): Promise<void> {
  const memory = await machine.saveMemory();
  for (const secret of [PASSPHRASE, WRONG_PASSPHRASE]) {
    const findings = await findInMemory(memory, new TextEncoder().encode(secret), "the passphrase");
    expect(describeFindings(findings)).toBe("");
  }
  const [proof] = await findInMemory(memory, new TextEncoder().encode(machine.proof), "what is known to be there");
  expect(proof).toBeDefined();
}

vmCase("dracut, OpenSSH: a session can answer, and nothing else; it is told wrong, then right", async (name) => {
  const { machine: started, keys } = await dracutMachine(name, "openssh", { atRoot: "shell" });
  await using machine = started;
  await announced(machine, keys.hostFingerprint);
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
  expect(person.seen).toMatch(/latchkey on .*, \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC, [\d.]+ (?:s|min) after the start/);
  expect(person.seen).toMatch(/root +closed +bcachefs on \/dev\/vda/);
  await person.types(WRONG_PASSPHRASE);
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
  await expectForgotten(machine);
});

vmCase(
  "dracut, dropbear, a LUKS root, an address of its own on one card of two: a piped passphrase; who dies or says nothing harms nobody",
  async (name) => {
    const {
      machine: started,
      keys,
      luks,
    } = await dracutLuksMachine(name, "dropbear", {
      isStatic: true,
      atRoot: "hold",
    });
    await using machine = started;
    await announced(machine, keys.hostFingerprint, STATIC_ADDRESS);
    using ssh = new SshClient(machine, keys);
    expect((await ssh.run({ identity: "stranger" })).stderr).toContain("Permission denied (publickey)");
    expect((await ssh.run({ options: ["-N", "-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:22"] })).status).toBe(
      255,
    );
    expect((await ssh.run({ options: ["-W", "127.0.0.1:22"] })).status).toBe(255);

    const wrong = await ssh.run({ input: `${WRONG_PASSPHRASE}\n` });
    expect(wrong).toMatchObject({ status: 2, stdout: "" });
    expect(wrong.stderr).toContain("answer/wrong: wrong passphrase for luks-");

    const dying = ssh.session();
    await dying.shows(QUESTION);
    await dying.begins(PASSPHRASE.slice(0, 10));
    dying.kill();

    using silent = await silentConnections(ssh.port, 200);
    await machine.sendLine("not the passphrase either");
    await machine.expect(/Wrong passphrase for luks-.*, try again/);
    silent[Symbol.dispose]();

    // dropbear counts the connections of an address that have not logged in, and needs a moment to see that they are gone.
    let right = await ssh.run({ input: PASSPHRASE });
    for (let tries = 0; right.status === 255 && tries < 20; tries += 1) {
      await Bun.sleep(1000);
      right = await ssh.run({ input: PASSPHRASE });
    }
    const mapping = `luks-${luks.members[0]?.uuid}`;
    expect(right).toMatchObject({ status: 0, stdout: `right: ${mapping} is open\n` });
    const { report, mounts } = await machine.realRoot();
    expect(mounts[0]).toContain(`/dev/mapper/${mapping} / ext4`);
    expect((report as Report).volumes[0]).toMatchObject({ name: mapping, standing: "opened", opened_by: "remote" });
    // The second card has no address, though a DHCP server waits there.
    expect(machine.console.text).not.toContain("10.0.3.");

    await machine.expect(rootSays.holding);
    await expectForgotten(machine);
  },
);

vmCase(
  "dracut, an image made by `latchkey install`, as its owner makes it: a session ends well when the console opens the root",
  async (name) => {
    const {
      machine: started,
      keys,
      log,
    } = await dracutMachine(name, "openssh", {
      isInstalled: true,
      words: [`ip=${CARD}:dhcp`],
    });
    await using machine = started;
    const { match } = await machine.expect(/remote: ssh -p 22 root@10\.0\.2\.15, host key (SHA256:\S{43})/);
    // The key that was made at the first image, kept at the second, and is named on the console.
    expect([...log.matchAll(/fingerprint: (\S+)/g)].map(([, fingerprint]) => fingerprint)).toEqual([
      match[1],
      match[1],
    ]);
    const scanned = await scannedHostKey(machine.forwarded(22));
    expect(scanned.hostFingerprint).toBe(match[1] ?? "");
    using ssh = new SshClient(machine, { ...keys, ...scanned });
    const waiting = ssh.session();
    await waiting.shows(QUESTION);
    await machine.sendLine("not the passphrase");
    await waiting.shows(/prompt +root: wrong passphrase[\s\S]*Passphrase for root \([^)]*\): $/);
    await machine.sendLine(PASSPHRASE);
    expect(await waiting.ended()).toBe(0);
    expect(waiting.seen).toContain("everything is open");
    const report = (await machine.realRoot()).report as Report;
    expect(report.volumes).toMatchObject([{ standing: "opened", opened_by: "prompt" }]);
  },
);

vmCase(
  "dracut: when latchkey dies, a session answers what others ask: for the root, and for a volume that is not ours",
  async (name) => {
    const passphrase = "jaded Zombi 5 plucks my vow of quartz";
    const data = await luksImage(await guest("dracut"), { series: 5, passphrases: [passphrase] });
    const { machine: started, keys } = await dracutMachine(name, "openssh", {
      files: {
        ...kill({ process: "latchkey", after: seconds(8) }),
        // With one try alone there would be none left for systemd's question, so latchkey leaves it alone.
        "/etc/crypttab": `data UUID=${data.members[0]?.uuid} none luks,tries=1,x-initrd.attach\n`,
      },
      disks: [{ file: data.members[0]?.file ?? "", serial: "data0" }],
      atRoot: "shell",
    });
    await using machine = started;
    await machine.expect("vm: fault: killed latchkey");
    await machine.expect(/asking for the passphrase of \/dev\/disk\/by-uuid/);
    using ssh = new SshClient(machine, keys);
    await ssh.isUp();
    const session = ssh.session();
    const answers = { root: ["not the passphrase", PASSPHRASE], data: [passphrase] };
    for (let asked = 1; asked <= 3; asked += 1) {
      await session.shows(new RegExp(`(?:Asked by another program: [^]*){${asked}}: $`));
      const question = session.seen.split("Asked by another program: ").at(-1) ?? "";
      const about = question.includes("/dev/disk/by-uuid/") ? answers.root : answers.data;
      await session.types(about.shift() ?? "one too many");
    }
    expect(session.seen).toContain("Asked by another program: That was not the passphrase");
    expect(await session.ended()).toBe(0);
    await machine.realRoot();
    expect(await machine.shell("ls /dev/mapper")).toContain("data");
  },
);

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
