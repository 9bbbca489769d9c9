import { hook, journalOnFailure, unit } from "../vm/fault.ts";
import { type Files, overlay } from "../vm/files.ts";
import { type Guest, guest } from "../vm/guest/chroot.ts";
import { PASSPHRASE } from "../vm/images.ts";
import { type LuksImage, luksImage } from "../vm/images-luks.ts";
import { buildInitrd } from "../vm/initrd.ts";
import { Machine, type MachineOptions } from "../vm/machine.ts";
import { seconds } from "../vm/patience.ts";
import { dropbearInitramfs, remoteConfig, withoutClevis, withoutOtherCards } from "../vm/remote-image.ts";
import { rootSays } from "../vm/root-tree.ts";
import { SSH_PORT, SshClient, type SshKeys, sshKeys } from "../vm/ssh.ts";
import { tpmState, tpmToken } from "../vm/tokens.ts";
import { type Comparison, comparisonTable } from "./figures.ts";
import { hostClock, instructionClock } from "./guest-clock.ts";
import type { Subject } from "./subject.ts";

const TPM_PAIRS = 2;
const LOGIN_PAIRS = 3;
const LIMIT = seconds(300);
const PCR = 14;

/** Nobody is asked before the TPM has had its time: bcachefs' key derivation alone takes longer than the usual two seconds here. */
const PATIENT = 'prompt_after = "2m"\n';

const configuration = (uuid: string, sources: string, table: string): string =>
  `${PATIENT}${table}[volumes.root]\nkind = "bcachefs"\ndevice = "UUID=${uuid}"\nsources = [${sources}]\n`;

/** A boot that a TPM opens, in seconds of a clock that counts instructions: from the kernel's start to the real root's init. */
async function tpmBoot(
  { guest: dracut, binary, image }: Subject,
  withRemote: boolean,
  keys: SshKeys,
  token: string,
  state: string,
) {
  const sources = withRemote ? '"clevis", "prompt", "remote"' : '"clevis", "prompt"';
  const config = withRemote
    ? remoteConfig(keys, "dropbear", configuration(image.uuid, sources, '[remote]\nserver = "dropbear"\n'))
    : { "/latchkey.toml": configuration(image.uuid, sources, "") };
  await using machine = await Machine.start({
    name: `bench-tpm-${withRemote ? "with" : "without"}-remote`,
    guest: dracut,
    initrd: await buildInitrd(dracut, {
      stack: "dracut",
      binary,
      config: { ...config, "/root.jwe": token },
      absent: withoutOtherCards,
      compression: "usual",
    }),
    overlays: [overlay(journalOnFailure)],
    disks: image.members.map((file, index) => ({ file, serial: `root${index}` })),
    commandLine: [`root=UUID=${image.uuid}`, "rootfstype=bcachefs"],
    guestPorts: [SSH_PORT],
    tpm: { state },
    clock: "instructions",
  });
  const clock = instructionClock(machine);
  const reached = await clock.at(await machine.expect(rootSays.reached, { within: LIMIT }));
  const uptime = await machine.expect(/vm: uptime ([\d.]+)\n/, { within: LIMIT });
  return { reached, uptime: Number(uptime.match[1]) };
}

/** One way to answer over SSH. */
interface LoginWay {
  readonly name: string;
  readonly options: Omit<MachineOptions, "name">;
  /** The console says that somebody is asked. */
  readonly question: RegExp;
  /** What the client asks for. */
  readonly command: readonly string[];
}

/** Seconds from the start of the ssh client to the real root's init, the answer being piped. */
async function login(way: LoginWay, keys: SshKeys, number: number): Promise<number> {
  await using machine = await Machine.start({ name: `bench-ssh-${way.name}-${number}`, ...way.options });
  await machine.expect(way.question, { within: LIMIT });
  using ssh = new SshClient(machine, keys);
  const clock = hostClock(machine);
  // Until the server is up; a client that gets through would begin the answer.
  await ssh.isUp(LIMIT);
  await Bun.sleep(3000); // a boot that has nothing else left to do
  const started = await clock.now();
  const answering = ssh.run({ command: way.command, input: PASSPHRASE }, LIMIT);
  const reached = await clock.at(await machine.expect(rootSays.reached, { within: LIMIT }));
  await answering.catch(() => undefined);
  return reached - started;
}

const machineWith = (
  stack: Guest,
  luks: LuksImage,
  initrd: string,
  commandLine: readonly string[],
  files: Files = {},
): Omit<MachineOptions, "name"> => ({
  guest: stack,
  initrd,
  overlays: [overlay(files)],
  disks: luks.members.map(({ file }, index) => ({ file, serial: `root${index}` })),
  commandLine,
  guestPorts: [SSH_PORT],
});

/** What an owner without latchkey puts together: networkd with the boot, dropbear, systemd's own agent for whoever logs in. */
function stockServer(keys: SshKeys): Files {
  return {
    "/root/.ssh/authorized_keys": { content: `${keys.clientPublic}\n`, mode: 0o600 },
    "/etc/dropbear-host-key": { content: keys.hostDropbear, mode: 0o600 },
    "/etc/shells": "/bin/bash\n/bin/sh\n",
    ...hook("pre-udev", "vm-root-shell", "sed -i 's,^root:.*,root:*:0:0::/root:/bin/sh,' /etc/passwd\n"),
    ...unit(
      "vm-dropbear.service",
      `[Unit]
DefaultDependencies=no
Conflicts=initrd-switch-root.target
Before=initrd-switch-root.target
[Service]
ExecStart=/usr/sbin/dropbear -F -E -s -r /etc/dropbear-host-key
`,
    ),
  };
}

async function dracutWays({ guest: dracut, binary }: Subject, keys: SshKeys): Promise<readonly [LoginWay, LoginWay]> {
  const luks = await luksImage(dracut);
  const commandLine = [`root=UUID=${luks.uuid}`, ...luks.members.map(({ uuid }) => `rd.luks.uuid=${uuid}`)];
  const ours = await buildInitrd(dracut, {
    stack: "dracut",
    binary,
    config: remoteConfig(keys, "dropbear", '[remote]\nserver = "dropbear"\nstart = "always"\n'),
    absent: withoutOtherCards,
    compression: "usual",
  });
  const theirs = await buildInitrd(dracut, {
    stack: "dracut",
    binary: null,
    add: ["systemd-networkd", "systemd-cryptsetup"],
    install: ["/usr/sbin/dropbear", "sed", "systemd-tty-ask-password-agent"],
    absent: withoutOtherCards,
    compression: "usual",
  });
  return [
    {
      name: "dracut-latchkey",
      options: machineWith(dracut, luks, ours, commandLine, journalOnFailure),
      question: /Passphrase for /,
      command: [],
    },
    {
      name: "dracut-agent",
      options: machineWith(dracut, luks, theirs, [...commandLine, "rd.neednet=1", "ip=dhcp"], {
        ...stockServer(keys),
        ...journalOnFailure,
      }),
      question: /passphrase for disk/i,
      command: ["systemd-tty-ask-password-agent"],
    },
  ];
}

async function debianWays({ binary }: Subject, keys: SshKeys): Promise<readonly [LoginWay, LoginWay]> {
  const debian = await guest("initramfs-tools-ssh");
  const luks = await luksImage(debian);
  const system = {
    ...dropbearInitramfs(keys),
    "/etc/crypttab": `root UUID=${luks.members[0]?.uuid} none luks,initramfs\n`,
    "/etc/fstab": `UUID=${luks.uuid} / ext4 defaults 0 1\n`,
  };
  const common = { stack: "initramfs-tools", absent: withoutClevis, system, compression: "usual" } as const;
  const ours = await buildInitrd(debian, {
    ...common,
    binary,
    config: { "/latchkey.toml": '[remote]\nstart = "always"\n' },
  });
  const theirs = await buildInitrd(debian, { ...common, binary: null });
  const commandLine = [`root=UUID=${luks.uuid}`];
  return [
    {
      name: "debian-latchkey",
      options: machineWith(debian, luks, ours, commandLine),
      question: /Passphrase for root/,
      command: [],
    },
    {
      name: "debian-cryptroot-unlock",
      options: machineWith(debian, luks, theirs, commandLine),
      question: /Please unlock disk root/,
      command: [],
    },
  ];
}

async function loginRow(
  what: string,
  [ours, theirs]: readonly [LoginWay, LoginWay],
  keys: SshKeys,
  count: number,
): Promise<Comparison> {
  const pairs: [number, number][] = [];
  for (let number = 1; number <= count; number += 1) {
    const first = await login(ours, keys, number);
    pairs.push([first, await login(theirs, keys, number)]);
  }
  return { what, ours: pairs.map(([one]) => one), theirs: pairs.map(([, other]) => other), digits: 2 };
}

/** What the way in from afar costs a boot that does not need it, and how long it takes where it is needed. */
export async function remoteBenchmark(subject: Subject): Promise<string> {
  const keys = await sshKeys(subject.guest);
  using tpm = tpmState();
  const token = await tpmToken(PASSPHRASE, [PCR]);
  const boots: [number, number][] = [];
  const tpmPairs = subject.pairs(TPM_PAIRS);
  const loginPairs = subject.pairs(LOGIN_PAIRS);
  for (let pair = 0; pair < tpmPairs; pair += 1) {
    const [ours, theirs] = await Promise.all([
      tpmBoot(subject, true, keys, token, tpm.directory),
      tpmBoot(subject, false, keys, token, tpm.directory),
    ]);
    boots.push([ours.uptime, theirs.uptime]);
  }
  const tpmRow: Comparison = {
    what: "start → init of the real root",
    ours: boots.map(([one]) => one),
    theirs: boots.map(([, other]) => other),
    digits: 2,
  };
  return `## From afar

**Configured and not needed.** A TPM opens an encrypted bcachefs root; thousand millions of guest instructions, ${tpmPairs} pairs, with a network card
in both. The image with the source \`remote\` has dropbear, systemd-networkd and the driver of this card besides; none of them is started, but all
have to be unpacked.

${comparisonTable(["with remote", "without"], [tpmRow])}

**From the start of the ssh client to the init of the real root**, the passphrase piped, a LUKS root with a cheap key derivation; seconds,
${loginPairs} pairs.

${comparisonTable(
  ["latchkey", "systemd-tty-ask-password-agent"],
  [await loginRow("dracut, dropbear", await dracutWays(subject, keys), keys, loginPairs)],
)}

${comparisonTable(
  ["latchkey", "cryptroot-unlock"],
  [await loginRow("initramfs-tools, dropbear-initramfs", await debianWays(subject, keys), keys, loginPairs)],
)}
`;
}
