/** Keys on USB sticks, in both stacks: what opens, what is named, and what is left behind. */
import { expect } from "bun:test";
import { join } from "node:path";
import type { Report } from "../../src/unlock/report.ts";
import { repository } from "./cache.ts";
import { vmCase } from "./case.ts";
import { journalOnFailure } from "./fault.ts";
import { overlay } from "./files.ts";
import { guest } from "./guest/chroot.ts";
import type { Stack } from "./guest/packages.ts";
import { bcachefsImage, PASSPHRASE } from "./images.ts";
import { luksImage } from "./images-luks.ts";
import { buildInitrd, smallMachineDrivers } from "./initrd.ts";
import { Machine, type MachineOptions } from "./machine.ts";
import { describeFindings, findInMemory } from "./memory.ts";
import { seconds } from "./patience.ts";
import type { Disk } from "./qemu-arguments.ts";
import { rootSays } from "./root-tree.ts";
import { exfatStick, isoStick, rawStick, stick, vaultStick } from "./sticks.ts";

const binary = process.env["LATCHKEY_BINARY"] ?? join(repository, "dist/latchkey");
const QUESTION = /Passphrase for root/;

/** The sticks of the configuration. */
const FAT = "4F2A-99C1";
const EXT = "6c617463-6865-4b65-8000-00000000c0de";
const ISO = "2026-11-22-17-04-41-00";
const PARTITION = "1a2b3c4d-01";
/** Beyond what udev reads of every partition. */
const PARTITION_OFFSET = 1_500_001;

const sha256 = (text: string): string => Bun.SHA256.hash(text, "hex");

/** As a person would have written it: bcachefs has a line of text on its sticks, LUKS the bytes as they are. */
const contents = { bcachefs: `${PASSPHRASE}\n`, luks: PASSPHRASE } as const;
type Kind = keyof typeof contents;

/** @param patience until a stick counts as absent, and until the question at the latest */
function configuration(kind: Kind, device: string, { timeout, promptAfter }: Patience): string {
  const sum = `sha256 = "${sha256(contents[kind])}", timeout = "${timeout}"`;
  return `prompt_after = "${promptAfter}"
[volumes.root]
kind = "${kind}"
device = "${device}"
sources = ["usb", "prompt"]
usb = [
  { uuid = "${FAT}", path = "root.key", ${sum} },
  { uuid = "${EXT}", path = "keys/root.key", ${sum} },
  { uuid = "${ISO}", path = "root.key", ${sum} },
  { partuuid = "${PARTITION}", offset = ${PARTITION_OFFSET}, size = ${contents[kind].length}, ${sum} },
]
`;
}

/** What brings these into the image is to be latchkey's hook. */
const ours = /^(vfat|nls_.*|usb_storage|uas|xhci_.*|sd_mod)$/;
const drivers = smallMachineDrivers.filter((name) => !ours.test(name));

/** On a stick that is encrypted itself: its own passphrase, and root's key in it. */
const VAULT = { uuid: "6c617463-6865-4b65-8000-00000000fa17", passphrase: "drowsy Ibex 3 hums to a quartz lamp" };

const vaultConfiguration = (root: string, data: string): string => `[volumes.stick]
kind = "luks"
device = "UUID=${VAULT.uuid}"
sources = ["prompt"]
[volumes.root]
kind = "bcachefs"
device = "${root}"
sources = ["vault"]
vault = { volume = "stick", path = "keys/root.key", sha256 = "${sha256(contents.bcachefs)}" }
[volumes.data]
kind = "luks"
device = "UUID=${data}"
sources = ["usb"]
usb = { uuid = "${FAT}", path = "root.key", sha256 = "${sha256(contents.luks)}" }
`;

interface Start {
  readonly stack: Stack;
  readonly kind: Kind;
  readonly sticks?: readonly Disk[];
  readonly atRoot?: MachineOptions["atRoot"];
  readonly patience?: Patience;
  /** Instead of the one with all sticks. */
  readonly text?: (root: string) => string;
}

interface Patience {
  readonly timeout: string;
  readonly promptAfter: string;
}

/** An emulated machine may take longer to see its sticks than the usual times allow, and then it asks. */
const patient: Patience = { timeout: "3m", promptAfter: "3m" };
const usual: Patience = { timeout: "10s", promptAfter: "2s" };

async function start(
  name: string,
  { stack, kind, sticks = [], atRoot, patience = patient, text }: Start,
): Promise<Machine> {
  const debian = await guest(stack);
  const { root, disks, words } = await rootDisk(stack, kind);
  const config = { "/etc/latchkey/latchkey.toml": text?.(root) ?? configuration(kind, root, patience) };
  return Machine.start({
    name,
    guest: debian,
    // The image is made with a configuration that needs what this one needs, so that it is the same for all cases.
    initrd: await buildInitrd(debian, {
      stack,
      binary,
      drivers,
      config: { "latchkey.toml": configuration("luks", "/dev/disk/by-id/any", patient) },
      ...(stack === "dracut" ? {} : { absent }),
    }),
    overlays: [overlay({ ...config, ...(stack === "dracut" ? journalOnFailure : {}) })],
    disks: [...disks, ...sticks],
    commandLine: [...words, "rd.latchkey.debug"],
    ...(atRoot === undefined ? {} : { atRoot }),
  });
}

/** Clevis' own scripts look for a question ten times a second, and an emulated machine has something better to do. */
const absent = [
  "/usr/share/initramfs-tools/hooks/clevis",
  "/usr/share/initramfs-tools/scripts/local-top/clevis",
  "/usr/share/initramfs-tools/scripts/local-bottom/clevis",
];

async function rootDisk(stack: Stack, kind: Kind) {
  const debian = await guest(stack);
  if (kind === "bcachefs") {
    const { uuid, members } = await bcachefsImage(debian, { passphrase: PASSPHRASE });
    const disks: Disk[] = members.map((file, index) => ({ file, serial: `root${index}` }));
    return { root: `UUID=${uuid}`, disks, words: [`root=UUID=${uuid}`, "rootfstype=bcachefs"] };
  }
  const { uuid, members } = await luksImage(debian);
  const disks: Disk[] = members.map(({ file }, index) => ({ file, serial: `root${index}` }));
  return { root: `UUID=${members[0]?.uuid}`, disks, words: [`root=UUID=${uuid}`] };
}

const usb = (file: string, serial: string, more: Partial<Disk> = {}): Disk => ({ file, serial, bus: "usb", ...more });
const late = (file: string, serial: string, more: Partial<Disk> = {}) => usb(file, serial, { isLate: true, ...more });

async function reportOf(machine: Machine): Promise<Report> {
  return (await machine.realRoot()).report as Report;
}

const openerOf = ({ volumes }: Report): string | null | undefined =>
  volumes.find(({ name }) => name === "root")?.opened_by;

async function expectNoCopy(machine: Machine): Promise<void> {
  await machine.expect(rootSays.holding);
  const findings = await findInMemory(await machine.saveMemory(), new TextEncoder().encode(PASSPHRASE), "the key");
  expect(describeFindings(findings)).toBe("");
}

/** The files of a machine, and of its journal: a key is in none of them. */
function expectSilence(machine: Machine): void {
  expect(machine.console.text).not.toContain(PASSPHRASE);
}

vmCase("dracut, LUKS: a stick that is in opens the root with nobody there, and no copy is left", async (name) => {
  const sticks = [usb(await stick({ type: "vfat", uuid: FAT, files: { "root.key": contents.luks } }), "fat")];
  await using machine = await start(name, { stack: "dracut", kind: "luks", sticks, atRoot: "hold" });
  expect(openerOf(await reportOf(machine))).toBe(`usb stick ${FAT}`);
  expect(machine.console.text).not.toMatch(QUESTION);
  expectSilence(machine);
  await expectNoCopy(machine);
});

vmCase("initramfs-tools, bcachefs: a CD image on a stick opens the root with nobody there", async (name) => {
  const sticks = [usb(await isoStick(), "iso")];
  await using machine = await start(name, { stack: "initramfs-tools", kind: "bcachefs", sticks });
  expect(openerOf(await reportOf(machine))).toBe(`usb stick ${ISO}`);
  expect(machine.console.text).not.toMatch(QUESTION);
  expectSilence(machine);
});

vmCase(
  "dracut: the passphrase of an encrypted stick opens the root by the key in it, exfat another disk",
  async (name) => {
    const [data] = (await luksImage(await guest("dracut"))).members;
    if (!data) throw new Error("an image has a member");
    const sticks: Disk[] = [
      { file: data.file, serial: "data" },
      usb(await vaultStick({ ...VAULT, files: { "keys/root.key": contents.bcachefs } }), "vault"),
      late(await exfatStick(), "exfat"),
    ];
    const text = (root: string): string => vaultConfiguration(root, data.uuid);
    await using machine = await start(name, { stack: "dracut", kind: "bcachefs", sticks, text, atRoot: "shell" });
    await machine.expect(/assphrase for stick/);
    await machine.plug("exfat");
    await machine.expect(`data: LUKS2 on /dev/vdb opened by usb stick ${FAT}`);
    await machine.sendLine(VAULT.passphrase);
    const report = await reportOf(machine);
    expect(report.volumes.map(({ name, opened_by }) => [name, opened_by])).toEqual([
      ["stick", "prompt"],
      ["root", "vault stick"],
      ["data", `usb stick ${FAT}`],
    ]);
    expectSilence(machine);
    expect(machine.console.text).not.toContain(VAULT.passphrase);
    // What this boot has no more use for is closed, what it was for is not.
    expect((await machine.shell("ls /dev/mapper")).match(/\w+/g)).toEqual(["control", "data"]);
  },
);

const sequences: readonly (readonly [Stack, Kind])[] = [
  ["dracut", "bcachefs"],
  ["initramfs-tools", "luks"],
];
for (const [stack, kind] of sequences) {
  vmCase(`${stack}, ${kind}: each stick that will not do is named, and the second right one opens`, async (name) => {
    const right = contents[kind];
    // The right key stands only where the search would not find what udev reads of every disk: not in the first megabytes.
    const far = { "a.bin": "x".repeat(8 * 1024 ** 2) };
    const wrong = `not ${sha256(right)}`;
    const link = { "keys/real.key": wrong, "keys/root.key": { link: "real.key" } };
    const sticks = [
      late(await stick({ type: "vfat", uuid: "4F2A-99C2", files: { ...far, "root.key": right } }), "other"),
      late(await stick({ type: "vfat", uuid: FAT, files: { "root.key": wrong } }), "checksum"),
      late(await stick({ type: "ext4", uuid: EXT, files: link }), "link"),
      late(await stick({ type: "ext4", uuid: EXT, files: { "keys/root.key": { size: 1024 ** 3 } } }), "large"),
      late(await stick({ type: "ext4", uuid: EXT, files: { "keys/root.key": wrong }, isDamaged: true }), "damaged"),
      late(await stick({ type: "vfat", uuid: FAT, files: { "root.key": "x".repeat(7 * 1024 ** 2) } }), "slow", {
        bytesPerSecond: 700_000,
      }),
      kind === "luks"
        ? late(await rawStick(right, PARTITION_OFFSET), "right")
        : late(await stick({ type: "ext4", uuid: EXT, files: { ...far, "keys/root.key": right } }), "right"),
    ];
    await using machine = await start(name, { stack, kind, sticks, atRoot: "hold", patience: usual });
    const inTurn = async (serial: string, reason: RegExp): Promise<void> => {
      await machine.plug(serial);
      await machine.expect(reason);
      await machine.unplug(serial);
    };
    await machine.expect(QUESTION);
    await machine.expect(`root: usb stick ${FAT}: not there after 10 s`);
    await machine.plug("other");
    await inTurn("checksum", /root\.key on \/dev\/sd\w is not the key file of the configuration: its SHA-256 differs/);
    await inTurn("link", /keys\/root\.key on \/dev\/sd\w is a symbolic link/);
    await inTurn("large", /keys\/root\.key on \/dev\/sd\w has 1073741824 bytes, and a key has at most 8388608/);
    await inTurn("damaged", /the ext4 on \/dev\/sd\w cannot be mounted/);
    await machine.plug("slow");
    await machine.expect(`usb stick ${FAT}: found on`);
    await Bun.sleep(seconds(1));
    await machine.unplug("slow");
    await machine.expect(/\/dev\/sd\w was pulled out while it was being read/);
    await machine.plug("right");
    const report = await reportOf(machine);
    expect(openerOf(report)).toBe(`usb stick ${kind === "luks" ? PARTITION : EXT}`);
    expect(report.attempts.filter(({ verdict }) => verdict === "opened")).toHaveLength(1);
    expectSilence(machine);
    await expectNoCopy(machine);
  });
}
