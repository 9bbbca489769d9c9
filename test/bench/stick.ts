import { journalOnFailure, unit } from "../vm/fault.ts";
import { type Files, overlay } from "../vm/files.ts";
import { PASSPHRASE } from "../vm/images.ts";
import { type LuksImage, luksImage } from "../vm/images-luks.ts";
import { buildInitrd } from "../vm/initrd.ts";
import { Machine } from "../vm/machine.ts";
import { seconds } from "../vm/patience.ts";
import { stick } from "../vm/sticks.ts";
import { type Comparison, comparisonTable } from "./figures.ts";
import { instructionClock } from "./guest-clock.ts";
import type { Subject } from "./subject.ts";

const PAIRS = 3;
const NAMES = ["latchkey", "crypttab"] as const;
const STICK = "4F2A-99C1";
const LIMIT = seconds(600);

interface Way {
  readonly name: (typeof NAMES)[number];
  readonly initrd: string;
  readonly files: Files;
}

/** What the kernel says when a disk is there, and what the guest says when the mapping is. */
const VISIBLE = /\[sda\] Attached SCSI/;
const OPEN = "vm: open";
const WAITING = "vm: waiting";
/** Seconds after which either way has nothing left to do but to wait for the stick. */
const SETTLED = 8;

/** The same for both ways: waits in the kernel for the node of the mapping, and says so. */
const markers: Files = {
  ...unit("vm-open.path", "[Unit]\nDefaultDependencies=no\n[Path]\nPathExists=/dev/mapper/root\n"),
  ...unit(
    "vm-waiting.service",
    `[Unit]
DefaultDependencies=no
After=systemd-udevd.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'sleep ${SETTLED}; echo "${WAITING}" >/dev/ttyS0'
`,
  ),
  "/etc/systemd/system/vm-open.service": `[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'echo "${OPEN}" >/dev/ttyS0'
`,
};

/** Both have the key on the stick as the bytes of the passphrase, and the stick's UUID; only latchkey has the checksum of the key. */
function files(name: Way["name"], image: LuksImage): Files {
  const device = `UUID=${image.members[0]?.uuid}`;
  if (name === "crypttab") {
    return { "/etc/crypttab": `root ${device} /root.key:UUID=${STICK} luks,keyfile-timeout=10min\n` };
  }
  return {
    "/etc/latchkey/latchkey.toml": `prompt_after = "10m"
[volumes.root]
kind = "luks"
device = "${device}"
sources = ["usb", "prompt"]
usb = { uuid = "${STICK}", path = "root.key", sha256 = "${Bun.SHA256.hash(PASSPHRASE, "hex")}", timeout = "10m" }
`,
  };
}

/** Guest instructions, in thousand millions, from the stick's disk to the mapping. */
async function measure({ guest }: Subject, way: Way, image: LuksImage, number: number): Promise<number> {
  const file = await stick({ type: "vfat", uuid: STICK, files: { "root.key": PASSPHRASE } });
  await using machine = await Machine.start({
    name: `bench-stick-${way.name}-${number}`,
    guest,
    initrd: way.initrd,
    overlays: [overlay({ ...way.files, ...markers, ...journalOnFailure })],
    disks: [
      ...image.members.map((member, index) => ({ file: member.file, serial: `root${index}` })),
      { file, serial: "stick", bus: "usb", isLate: true },
    ],
    commandLine: [`root=UUID=${image.uuid}`, "loglevel=6", "rd.timeout=0"],
    clock: "instructions",
  });
  const clock = instructionClock(machine);
  await machine.expect(WAITING, { within: LIMIT });
  await machine.plug("stick");
  const visible = await clock.at(await machine.expect(VISIBLE, { within: LIMIT }));
  const open = await clock.at(await machine.expect(OPEN, { within: LIMIT }));
  return open - visible;
}

/** A stick that is put in while the machine waits for it: how long until the volume is open. */
export async function stickBenchmark(subject: Subject): Promise<string> {
  const { guest, binary } = subject;
  const count = subject.pairs(PAIRS);
  const image = await luksImage(guest);
  const config = { "latchkey.toml": String(files("latchkey", image)["/etc/latchkey/latchkey.toml"]) };
  const ways: readonly Way[] = [
    {
      name: "latchkey",
      initrd: await buildInitrd(guest, { stack: "dracut", binary, config }),
      files: files("latchkey", image),
    },
    {
      name: "crypttab",
      initrd: await buildInitrd(guest, { stack: "dracut", binary: null, add: ["crypt", "systemd-cryptsetup"] }),
      files: files("crypttab", image),
    },
  ];
  const taken: Record<Way["name"], number[]> = { latchkey: [], crypttab: [] };
  for (let number = 1; number <= count; number += 1) {
    // Side by side, on a processor each: the count does not see the other.
    await Promise.all(ways.map(async (way) => taken[way.name].push(await measure(subject, way, image, number))));
  }
  const row: Comparison = {
    what: "stick visible → volume open",
    ours: taken.latchkey,
    theirs: taken.crypttab,
    digits: 2,
  };
  return `## A USB stick

A LUKS root whose key file is on a vfat stick that is put in while the machine waits. Thousand millions of guest instructions (as above) from
the kernel's word that the disk is attached until the mapping is there, ${count} boots each. "crypttab" is systemd-cryptsetup with
\`/root.key:UUID=${STICK}\` as the key: it knows the stick by udev's link and takes whatever file is there; latchkey reads the UUID from the
superblock itself and compares the SHA-256 of the key.

${comparisonTable(NAMES, [row])}
`;
}
