import { hook, journalOnFailure, unit } from "../vm/fault.ts";
import { type Files, overlay } from "../vm/files.ts";
import { PASSPHRASE } from "../vm/images.ts";
import { Machine, type MachineOptions } from "../vm/machine.ts";
import { seconds } from "../vm/patience.ts";
import { rootSays } from "../vm/root-tree.ts";
import { hostClock, instructionClock } from "./guest-clock.ts";
import { LOGGED } from "./kernel-log.ts";
import type { Subject } from "./subject.ts";

/** One way to an open root. */
export interface Way {
  readonly name: string;
  readonly initrd: string;
  readonly files: Files;
  readonly question: string | RegExp;
}

/** What one boot took, in seconds of its clock; memory in KiB. */
export interface BootFigures {
  /** From the start of the clock (the guest's kernel, or QEMU on the host) until the question is on the screen. */
  readonly question: number;
  /** From the Enter key until the root is mounted. */
  readonly answerToMount: number;
  /** From the Enter key until the real root's init runs. */
  readonly answerToRoot: number;
  /** Processor time of QEMU on the host. */
  readonly cpu: number;
  readonly availableEarly: number;
  readonly availableAtQuestion: number;
  /** Lines of the guest's kernel log, of machines that count instructions. */
  readonly kernelLog: string;
}

const says = { early: "vm: early memory", answer: "vm: a person answers now", mounted: "vm: mounted" } as const;

/** How long a person takes to answer, by the guest's clock. What the boot gets done meanwhile is part of the comparison. */
export const THINKING_SECONDS = 3;

const available = (label: string): string => `
while read -r vm_key vm_value vm_unit; do
  [ "$vm_key" != MemAvailable: ] || echo "${label} $vm_value" >/dev/ttyS0
done </proc/meminfo
`;

const SERVICE = "[Service]\nType=oneshot\nRemainAfterExit=yes\n";
const EARLY = "[Unit]\nDefaultDependencies=no\n";

/** The same for both ways, little, and while a person is waited for where it can be. */
const markers: Files = {
  ...hook("pre-udev", "vm-memory", available(says.early)),
  ...unit("vm-person.path", `${EARLY}[Path]\nPathExistsGlob=/run/systemd/ask-password/ask.*\n`),
  "/etc/systemd/system/vm-person.service": `${EARLY}${SERVICE}ExecStart=/bin/sh /etc/vm-person\n`,
  "/etc/vm-person": `sleep ${THINKING_SECONDS}${available(says.answer)}`,
  ...unit(
    "vm-mounted.service",
    `${EARLY}After=sysroot.mount\n${SERVICE}ExecStart=/bin/sh -c 'echo "${says.mounted}" >/dev/ttyS0'\n`,
    "initrd-root-fs.target",
  ),
};

const LIMIT = seconds(300);

/** Boots once, answers the question a fixed time after it came, and reads the clock at what happens. */
export async function boot(
  { guest, image }: Subject,
  way: Way,
  clockKind: NonNullable<MachineOptions["clock"]>,
  number: number,
): Promise<BootFigures> {
  const counts = clockKind === "instructions";
  await using machine = await Machine.start({
    name: `bench-${way.name}-${clockKind}-${number}`,
    guest,
    initrd: way.initrd,
    overlays: [overlay({ ...way.files, ...markers, ...journalOnFailure })],
    disks: image.members.map((file, index) => ({ file, serial: `root${index}` })),
    commandLine: [`root=UUID=${image.uuid}`, "rootfstype=bcachefs"],
    clock: clockKind,
    atRoot: counts ? "shell" : "power-off",
  });
  const clock = counts ? instructionClock(machine) : hostClock(machine);
  const early = await machine.expect(new RegExp(`${says.early} (\\d+)\n`), { within: LIMIT });
  const question = await clock.at(await machine.expect(way.question, { within: LIMIT }));
  const ready = await machine.expect(new RegExp(`${says.answer} (\\d+)\n`), { within: LIMIT });
  await machine.type(PASSPHRASE, 0);
  await machine.expect(new RegExp(`[•*]{${PASSPHRASE.length}}`), { within: LIMIT });
  const answer = await clock.now();
  await machine.type("\n", 0);
  const mounted = await clock.at(await machine.expect(says.mounted, { within: LIMIT }));
  const root = await clock.at(await machine.expect(rootSays.reached, { within: LIMIT }));
  const cpu = machine.cpuSeconds();
  const uptime = await machine.expect(/vm: uptime ([\d.]+)\n/, { within: LIMIT });
  // The guest's timer starts a little after its kernel does: the kernel's own clock, shown at the end, says when that was.
  const start = counts ? root - Number(uptime.match[1]) : 0;
  const kernelLog = counts ? await machine.shell(`dmesg | grep -E '${LOGGED}'`, LIMIT) : "";
  return {
    question: question - start,
    answerToMount: mounted - answer,
    answerToRoot: root - answer,
    cpu,
    availableEarly: Number(early.match[1]),
    availableAtQuestion: Number(ready.match[1]),
    kernelLog,
  };
}
