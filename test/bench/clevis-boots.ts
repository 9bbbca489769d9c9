import { statSync } from "node:fs";
import { PASSPHRASE } from "../vm/images.ts";
import { buildInitrd } from "../vm/initrd.ts";
import { tpmToken } from "../vm/tokens.ts";
import { type ClevisBoot, type ClevisWay, clevisBoot, type Moments } from "./clevis-boot.ts";
import { type ClevisStack, dracutMarks, dracutStack, initramfsStack, patient } from "./clevis-ways.ts";
import { packageVersion } from "./environment.ts";
import { type Comparison, comparisonTable, grouped, many, spread, table } from "./figures.ts";
import type { Subject } from "./subject.ts";

const COUNTED_PAIRS = 2;
const WALL_PAIRS = 3;
const NAMES = ["latchkey", "clevis"] as const;

type Pair = readonly [ours: ClevisBoot, theirs: ClevisBoot];

/** Machines that count instructions, the two of a pair side by side: the count does not see the other. */
async function countedPairs([ours, theirs]: ClevisStack["ways"], count: number): Promise<readonly Pair[]> {
  const pairs: Pair[] = [];
  for (let number = 1; number <= count; number += 1) {
    pairs.push(
      await Promise.all([clevisBoot(ours, "instructions", number), clevisBoot(theirs, "instructions", number)]),
    );
  }
  return pairs;
}

/** One machine at a time, by the clock. */
async function wallPairs([ours, theirs]: ClevisStack["ways"], count: number): Promise<readonly Pair[]> {
  const pairs: Pair[] = [];
  for (let number = 1; number <= count; number += 1) {
    const first = await clevisBoot(ours, "host", number);
    pairs.push([first, await clevisBoot(theirs, "host", number)]);
  }
  return pairs;
}

function row(what: string, pairs: readonly Pair[], value: (boot: ClevisBoot) => number, digits = 2): Comparison {
  const [ours, theirs] = [pairs.map(([one]) => value(one)), pairs.map(([, other]) => value(other))];
  if (![...ours, ...theirs].every(Number.isFinite)) throw new Error(`${what}: not seen in every boot`);
  return { what, ours, theirs, digits };
}

const between = (from: keyof Moments, to: keyof Moments) => (boot: ClevisBoot) => boot.moments[to] - boot.moments[from];
const until = (to: keyof Moments) => (boot: ClevisBoot) => boot.moments[to];

/** @param hasToken do both tell when the token is open? */
function momentRows(pairs: readonly Pair[], hasToken: boolean): readonly Comparison[] {
  return [
    ...(hasToken ? [row("TPM node → token open", pairs, between("tpm", "token"))] : []),
    ...(hasToken ? [row("disk there → token open", pairs, between("disk", "token"))] : []),
    row("disk there → mapping there", pairs, between("disk", "mapping")),
    row("start → disk there", pairs, until("disk")),
    row("start → mapping there", pairs, until("mapping")),
    row("start → root mounted", pairs, until("mounted")),
    row("start → init of the real root", pairs, until("root")),
  ];
}

const mebibytes =
  (when: keyof ClevisBoot["available"]) =>
  ({ available }: ClevisBoot): number =>
    available[when] / 1024;

async function stackTables(stack: ClevisStack, hasToken: boolean, { pairs }: Subject): Promise<string> {
  const counted = await countedPairs(stack.ways, pairs(COUNTED_PAIRS));
  const wall = await wallPairs(stack.ways, pairs(WALL_PAIRS));
  const base = statSync(stack.images[0]?.file ?? "").size;
  const sizes = stack.images.map(({ what, file }) => {
    const { size } = statSync(file);
    return [what, grouped(size), size === base ? "" : `+${grouped(size - base)}`];
  });
  return `${table(["initrd", "bytes", "more"], sizes)}

Thousand millions of guest instructions, ${many(counted.length, "boot")} each; the start is that of the kernel.

${comparisonTable(NAMES, [
  ...momentRows(counted, hasToken),
  row("unpacking the initrd", counted, ({ unpackingSeconds }) => unpackingSeconds),
])}

Seconds, two emulated processors, one machine at a time, ${many(wall.length, "pair")}; by the guest's clock, and the last time from the start of QEMU by
that of the host.

${comparisonTable(NAMES, [
  ...momentRows(wall, hasToken),
  row("QEMU's start → init of the real root", wall, ({ wallSeconds }) => wallSeconds),
  row("processor time of QEMU", wall, ({ cpuSeconds }) => cpuSeconds, 1),
])}

MiB available of 1,024, in the same boots.

${comparisonTable(NAMES, [
  row("before anything is unlocked", wall, mebibytes("early"), 0),
  row("when the mapping is there", wall, mebibytes("mapped"), 0),
  row("in the real root", wall, mebibytes("atRoot"), 0),
])}
`;
}

/** A dracut initrd with latchkey against one with clevis-dracut: the same LUKS root, the same token for the TPM, nobody there. */
export async function clevisDracut(subject: Subject): Promise<string> {
  const stack = await dracutStack(subject.binary);
  const version = await packageVersion(stack.guest, "clevis-dracut", subject);
  const tables = await stackTables(stack, true, subject);
  return `## Boots with a TPM token: dracut

A LUKS2 root with a token for the TPM that clevis itself has put into its header, nobody there, in dracut initrds made in one Debian with the
drivers of a small virtual machine: latchkey, and Debian's clevis-dracut ${version} without its Tang pin, which would bring the network with it. Both
answer systemd-cryptsetup. "TPM node": the kernel's driver has found it, which it does after the initrd is unpacked. "Token open": the passphrase
was found right (latchkey), or handed to systemd-cryptsetup (clevis).

${tables}
${await keyringParagraph(subject)}
`;
}

/** An initramfs-tools initrd with latchkey against one with clevis-initramfs, likewise. */
export async function clevisInitramfs(subject: Subject): Promise<string> {
  const stack = await initramfsStack(subject.binary);
  const version = await packageVersion(stack.guest, "clevis-initramfs", subject);
  return `## Boots with a TPM token: initramfs-tools

The same root and token, in initrds of initramfs-tools made in one Debian (\`MODULES=list\`): latchkey, and Debian's clevis-initramfs ${version}, which answers
cryptroot's question.

${await stackTables(stack, false, subject)}`;
}

/** What clevis has no counterpart for. */
async function keyringParagraph({ guest, binary, image, pairs }: Subject): Promise<string> {
  const way: ClevisWay = {
    name: "dracut-bcachefs",
    guest,
    initrd: await buildInitrd(guest, { stack: "dracut", binary, compression: "usual" }),
    files: { ...dracutMarks, ...patient, "/etc/latchkey/root.jwe": await tpmToken(PASSPHRASE, [14]) },
    disks: image.members.map((file, index) => ({ file, serial: `root${index}` })),
    commandLine: [`root=UUID=${image.uuid}`, "rootfstype=bcachefs"],
  };
  const boots = await Promise.all(
    Array.from({ length: pairs(COUNTED_PAIRS) }, (_, index) => clevisBoot(way, "instructions", index + 1)),
  );
  const [fromTpm, fromDisk] = (["tpm", "disk"] as const).map((from) => spread(boots.map(between(from, "token")), 2));
  return `A bcachefs root with such a token, for which clevis has nothing; latchkey alone, ${many(boots.length, "boot")}: ${fromTpm} thousand million
instructions from the TPM node to the key in the keyring, ${fromDisk} from the disk. That has scrypt in it, as for every bcachefs.`;
}
