import { statSync } from "node:fs";
import { join } from "node:path";
import type { Report } from "../../src/unlock/report.ts";
import { buildVariant } from "./builds.ts";
import { holdContests, resultOf, timeRows } from "./contest.ts";
import { type Comparison, comparisonTable, grouped, many } from "./figures.ts";
import type { ContestResult, Run } from "./inside.ts";
import { locked, type Subject } from "./subject.ts";

const PAIRS = 30;
const KEY_PAIRS = 12;

/** How long a program takes that does nothing; and whether bytecode would help. */
export async function startBenchmark(subject: Subject): Promise<string> {
  const without = await buildVariant(join(subject.scratch, "without-bytecode"), false);
  const withIt = await buildVariant(join(subject.scratch, "with-bytecode"), true);
  const { contents, key } = locked(subject);
  const [pairs, keyPairs] = [subject.pairs(PAIRS), subject.pairs(KEY_PAIRS)];
  const unlock = ["unlock", "/mnt/root.img", "--passphrase-file", "/mnt/passphrase", "--json"];
  const results = await holdContests(
    subject.guest,
    {
      ...contents,
      latchkey: { file: subject.binary },
      without: { file: without },
      with: { file: withIt },
    },
    [
      {
        name: "start",
        commands: [
          ["/mnt/latchkey", "--version"],
          ["bcachefs", "version"],
        ],
        pairs,
      },
      {
        name: "bytecode start",
        commands: [
          ["/mnt/with", "--version"],
          ["/mnt/without", "--version"],
        ],
        pairs,
      },
      {
        name: "bytecode unlock",
        commands: [
          ["/mnt/with", ...unlock],
          ["/mnt/without", ...unlock],
        ],
        pairs: keyPairs,
        key,
      },
    ],
  );
  const bytes = [withIt, without].map((file) => grouped(statSync(file).size));
  const unlocking = resultOf(results, "bytecode unlock");
  return `## Starting

A program that prints its version and ends, in the same chroot, ${many(pairs, "pair")}. Nearly all of the tool's wall time
is waiting for the kernel to end its last thread (seen with strace).

${comparisonTable(["`latchkey --version`", "`bcachefs version`"], timeRows(resultOf(results, "start"), 1))}

### Bytecode

The same sources built twice, with and without \`bytecode\` (${bytes.join(" and ")} bytes). "Attempt" is what the report says from the
credential to the key in the keyring, nearly all of it the key derivation, which is native code in both (${many(keyPairs, "pair")}).

${comparisonTable(
  ["with", "without"],
  [
    ...timeRows(resultOf(results, "bytecode start"), 1, "start: "),
    ...timeRows(unlocking, 0, "unlock: "),
    attemptRow(unlocking),
  ],
)}
`;
}

function attemptRow({ runs: [ours, theirs] }: ContestResult): Comparison {
  return { what: "unlock: attempt, ms", ours: ours.map(attemptMs), theirs: theirs.map(attemptMs), digits: 0 };
}

function attemptMs({ output }: Run): number {
  const [attempt] = (JSON.parse(output) as Report).attempts;
  return attempt ? attempt.ended_ms - attempt.started_ms : Number.NaN;
}
