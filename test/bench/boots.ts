import { STOCK_QUESTION, stockFiles } from "../vm/stock.ts";
import { type BootFigures, boot, THINKING_SECONDS, type Way } from "./boot.ts";
import { type Comparison, comparisonTable, many } from "./figures.ts";
import type { Initrds } from "./initrds.ts";
import { logged, unpacking } from "./kernel-log.ts";
import type { Subject } from "./subject.ts";

const COUNTED_PAIRS = 2;
const WALL_PAIRS = 3;

type Pairs = readonly (readonly [ours: BootFigures, theirs: BootFigures])[];

function ways({ latchkey, stock }: Initrds): readonly [Way, Way] {
  return [
    { name: "latchkey", initrd: latchkey, files: {}, question: "Passphrase for root" },
    { name: "stock", initrd: stock, files: stockFiles, question: STOCK_QUESTION },
  ];
}

function row(pairs: Pairs, what: string, value: (figures: BootFigures) => number, digits = 2): Comparison {
  return { what, ours: pairs.map(([ours]) => value(ours)), theirs: pairs.map(([, theirs]) => value(theirs)), digits };
}

const timeRows = (pairs: Pairs): readonly Comparison[] => [
  row(pairs, "start → question visible", ({ question }) => question),
  row(pairs, "Enter → root mounted", ({ answerToMount }) => answerToMount),
  row(pairs, "Enter → init of the real root", ({ answerToRoot }) => answerToRoot),
  row(pairs, "whole boot without the person", ({ question, answerToRoot }) => question + answerToRoot),
];

const NAMES = ["latchkey", "stock"] as const;

/** Boots whose clock counts instructions: the same on every machine, whatever else it does. */
export async function countedBoots(subject: Subject, initrds: Initrds): Promise<string> {
  const count = subject.pairs(COUNTED_PAIRS);
  const [ours, theirs] = ways(initrds);
  const pairs: [BootFigures, BootFigures][] = [];
  for (let number = 1; number <= count; number += 1) {
    // Side by side, on a processor each: the count does not see the other.
    pairs.push(
      await Promise.all([
        boot(subject, ours, "instructions", number),
        boot(subject, theirs, "instructions", number),
      ] as const),
    );
  }
  return `## Boots, counted in instructions

Thousand millions of guest instructions (QEMU \`-icount shift=0,sleep=on\`, one processor), ${many(count, "boot")} each. They compare
work, not time: one processor's instruction may do as much as another's eight. "Stock" is a dracut hook of an owner without latchkey:
\`systemd-ask-password | bcachefs unlock\`. The passphrase is typed at the serial console ${THINKING_SECONDS} guest seconds after the question came;
the time of the person is in no figure, but what a boot gets done meanwhile need not be done later. The start is that of the kernel.

${comparisonTable(NAMES, [
  ...timeRows(pairs),
  row(pairs, "unpacking the initrd", ({ kernelLog }) => unpacking(kernelLog)),
  row(pairs, "start → the initrd's init", ({ kernelLog }) => logged(kernelLog, "Run /init")),
])}
`;
}

/** Boots by the host's clock, one at a time, and the memory that is left in them. */
export async function wallBoots(subject: Subject, initrds: Initrds): Promise<string> {
  const count = subject.pairs(WALL_PAIRS);
  const [ours, theirs] = ways(initrds);
  const pairs: [BootFigures, BootFigures][] = [];
  for (let number = 1; number <= count; number += 1) {
    const first = await boot(subject, ours, "host", number);
    pairs.push([first, await boot(subject, theirs, "host", number)]);
  }
  const mebibytes = (value: (figures: BootFigures) => number) => (figures: BootFigures) => value(figures) / 1024;
  return `## Boots, by the clock on the wall

Seconds, the same machines with two emulated processors and no hardware help, one at a time, ${many(count, "pair")}. The start is that of QEMU.

${comparisonTable(NAMES, [...timeRows(pairs), row(pairs, "processor time of QEMU", ({ cpu }) => cpu, 1)])}

## Memory in the initrd

MiB available (\`MemAvailable\`) of a machine with 1,024, in the same boots. The program lies in memory with the rest of the initrd until the
real root takes over; while the question stands it also runs.

${comparisonTable(NAMES, [
  row(
    pairs,
    "before udev",
    mebibytes(({ availableEarly }) => availableEarly),
    0,
  ),
  row(
    pairs,
    "while the question stands",
    mebibytes(({ availableAtQuestion }) => availableAtQuestion),
    0,
  ),
])}
`;
}
