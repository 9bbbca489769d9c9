/** Machines that can be reached over SSH while they boot, in both stacks. */
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { repository } from "./cache.ts";
import { journalOnFailure } from "./fault.ts";
import { type Files, overlay } from "./files.ts";
import { guest } from "./guest/chroot.ts";
import { bcachefsImage, PASSPHRASE } from "./images.ts";
import { type LuksImage, luksImage } from "./images-luks.ts";
import { buildInitrd, type InitrdOptions, smallMachineDrivers } from "./initrd.ts";
import { Machine, type MachineOptions } from "./machine.ts";
import { CARD } from "./qemu-arguments.ts";
import {
  dropbearInitramfs,
  remoteConfig,
  type Server,
  withoutClevis,
  withoutDropbearInitramfs,
  withoutOtherCards,
} from "./remote-image.ts";
import { GUEST_ADDRESS, SSH_PORT, type SshKeys, sshKeys } from "./ssh.ts";

const binary = process.env["LATCHKEY_BINARY"] ?? join(repository, "dist/latchkey");

/** The question on the console and, with its end, that of a session. */
export const CONSOLE_QUESTION = /Passphrase for (?:root|luks-)/;
export const QUESTION = /Passphrase for \S+ \([^)]*\): $/;

/** Long, and of words that no message has: it is searched for in memory. */
export const WRONG_PASSPHRASE = "grumpy Wombat 4 naps under violet fig";

/** One card of two has an address of its own, the other one is nobody's business. */
export const STATIC_ADDRESS = "10.0.2.77";
const STATIC = `ip=${STATIC_ADDRESS}::10.0.2.2:255.255.255.0::${CARD}:none`;
export const twoCards = { guestAddress: STATIC_ADDRESS, hasOtherCard: true } as const;

interface Differences extends Partial<Omit<MachineOptions, "initrd">> {
  readonly files?: Files;
  readonly hasNetwork?: boolean;
  readonly isStatic?: boolean;
  /** The image is made by `latchkey install`, as an owner does it, and the host key with it. */
  readonly isInstalled?: boolean;
  /** More of the kernel command line. */
  readonly words?: readonly string[];
}

interface Reachable {
  readonly machine: Machine;
  readonly keys: SshKeys;
  /** What was said while its image was made. */
  readonly log: string;
}

/** The table [remote], and the root where it is one that latchkey has to be told of. */
function configuration(server: Server, isStatic: boolean, bcachefs?: string): string {
  const volume = `[volumes.root]\nkind = "bcachefs"\ndevice = "UUID=${bcachefs}"\nsources = ["prompt", "remote"]\n`;
  const network = isStatic ? `network = "${STATIC}"\n` : "";
  return `[remote]\nserver = "${server}"\n${network}${bcachefs === undefined ? "" : volume}`;
}

const networkOf = (hasNetwork: boolean, isStatic: boolean): Partial<MachineOptions> =>
  hasNetwork ? { guestPorts: [SSH_PORT], ...(isStatic ? { network: twoCards } : {}) } : {};

/** dracut, with an encrypted bcachefs root. */
export async function dracutMachine(
  name: string,
  server: Server,
  {
    files = {},
    hasNetwork = true,
    isStatic = false,
    isInstalled = false,
    disks = [],
    words = [],
    ...differences
  }: Differences = {},
): Promise<Reachable> {
  const dracut = await guest("dracut");
  const image = await bcachefsImage(dracut, { passphrase: PASSPHRASE });
  const keys = await sshKeys(dracut);
  const config = remoteConfig(keys, server, configuration(server, isStatic, image.uuid));
  const built = await buildInitrd(dracut, {
    stack: "dracut",
    binary,
    absent: withoutOtherCards,
    ...(isInstalled ? installed(dracut.kernelVersion, config) : { config }),
  });
  const machine = await Machine.start({
    name,
    guest: dracut,
    initrd: built,
    overlays: [overlay({ ...files, ...journalOnFailure })],
    disks: [...image.members.map((file, index) => ({ file, serial: `root${index}` })), ...disks],
    commandLine: [`root=UUID=${image.uuid}`, "rootfstype=bcachefs", ...words],
    ...networkOf(hasNetwork, isStatic),
    ...differences,
  });
  return { machine, keys, log: logOf(built) };
}

/** As on a machine whose root is a virtio disk with a bcachefs: dracut asks this machine, which has none. */
function installed(kernel: string, config: Files): Partial<InitrdOptions> {
  const drivers = `hostonly="no"\ncompress="zstd -3 -q -T0"\ndrivers+=" ${smallMachineDrivers.join(" ")} "\n`;
  return {
    config: Object.fromEntries(Object.entries(config).filter(([path]) => !path.startsWith("/ssh/"))),
    system: { "/etc/dracut.conf.d/10-test.conf": drivers },
    command: installCommand("dracut", kernel),
  };
}

/** dracut, with a LUKS root of which nothing but the kernel command line tells. */
export async function dracutLuksMachine(
  name: string,
  server: Server,
  { files = {}, isStatic = false, ...differences }: Differences = {},
): Promise<Omit<Reachable, "log"> & { readonly luks: LuksImage }> {
  const dracut = await guest("dracut");
  const luks = await luksImage(dracut);
  const keys = await sshKeys(dracut);
  const machine = await Machine.start({
    name,
    guest: dracut,
    initrd: await buildInitrd(dracut, {
      stack: "dracut",
      binary,
      config: remoteConfig(keys, server, configuration(server, isStatic)),
      absent: withoutOtherCards,
    }),
    overlays: [overlay({ ...files, ...journalOnFailure })],
    disks: luks.members.map(({ file }, index) => ({ file, serial: `root${index}` })),
    commandLine: [`root=UUID=${luks.uuid}`, ...luks.members.map(({ uuid }) => `rd.luks.uuid=${uuid}`)],
    ...networkOf(true, isStatic),
    ...differences,
  });
  return { machine, keys, luks };
}

/**
 * initramfs-tools with a LUKS root and dropbear-initramfs, set up as people have it, in an image that `latchkey install` made.
 */
export async function debianMachine(
  name: string,
  { files = {}, hasNetwork = true, ...differences }: Differences = {},
): Promise<Reachable> {
  const debian = await guest("initramfs-tools-ssh");
  const keys = await sshKeys(await guest("dracut"));
  const luks = await luksImage(debian);
  const [member] = luks.members;
  const built = await buildInitrd(debian, {
    stack: "initramfs-tools",
    binary,
    absent: withoutClevis,
    config: { "/latchkey.toml": '[remote]\nstart = "always"\n' },
    system: {
      ...dropbearInitramfs(keys),
      "/etc/crypttab": `root UUID=${member?.uuid} none luks,initramfs\n`,
      "/etc/fstab": `UUID=${luks.uuid} / ext4 defaults 0 1\n`,
      "/etc/initramfs-tools/conf.d/vm-quick": "COMPRESS=zstd\nCOMPRESSLEVEL=3\n",
    },
    command: installCommand("initramfs-tools", debian.kernelVersion),
  });
  const machine = await Machine.start({
    name,
    guest: debian,
    initrd: built,
    overlays: [overlay(files)],
    disks: [{ file: member?.file ?? "", serial: "root0" }],
    commandLine: [`root=UUID=${luks.uuid}`],
    ...networkOf(hasNetwork, false),
    ...differences,
  });
  return { machine, keys, log: logOf(built) };
}

/** initramfs-tools with a bcachefs root, where nothing but latchkey brings an SSH server. */
export async function plainDebianMachine(
  name: string,
  server: Server,
  { isStatic = false, ...differences }: Differences = {},
): Promise<Omit<Reachable, "log">> {
  const debian = await guest("initramfs-tools-ssh");
  const keys = await sshKeys(await guest("dracut"));
  const image = await bcachefsImage(debian, { passphrase: PASSPHRASE });
  const machine = await Machine.start({
    name,
    guest: debian,
    initrd: await buildInitrd(debian, {
      stack: "initramfs-tools",
      binary,
      absent: [...withoutClevis, ...withoutDropbearInitramfs],
      config: remoteConfig(keys, server, configuration(server, isStatic, image.uuid)),
    }),
    disks: image.members.map((file, index) => ({ file, serial: `root${index}` })),
    commandLine: [`root=UUID=${image.uuid}`],
    ...networkOf(true, isStatic),
    ...differences,
  });
  return { machine, keys };
}

const logOf = (initrd: string): string => readFileSync(join(dirname(initrd), "console.log"), "utf8");

/** As an owner does it, and once more: the guest of the tests comes without an image, so none is found by itself. */
function installCommand(stack: string, kernel: string): readonly string[] {
  const install = `latchkey install ${stack} --kver ${kernel} --image /boot/initrd.img-${kernel}`;
  return ["sh", "-euc", `${install}; ${install} --no-rebuild`];
}

/** The console says where to come, and with which key. */
export async function announced(machine: Machine, fingerprint: string, address = GUEST_ADDRESS): Promise<void> {
  const line = `remote: ssh -p ${SSH_PORT} root@${address}, host key ${fingerprint}`;
  // In whatever order: the network may be there before the disk is.
  await machine.expect(new RegExp(`(?=[^]*${CONSOLE_QUESTION.source})(?=[^]*${RegExp.escape(line)})`));
}
