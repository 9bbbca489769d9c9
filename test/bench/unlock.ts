import { holdContests, peakRow, resultOf, timeRows } from "./contest.ts";
import { comparisonTable, many } from "./figures.ts";
import { locked, type Subject } from "./subject.ts";

const PAIRS = 20;
const MEMORY_PAIRS = 5;

/** Unlocking one image, passphrase in a file, key into the user keyring: the whole process. */
export async function unlockBenchmark(subject: Subject): Promise<string> {
  const { contents, key } = locked(subject);
  const pairs = subject.pairs(PAIRS);
  const results = await holdContests(subject.guest, { ...contents, latchkey: { file: subject.binary } }, [
    {
      name: "unlock",
      commands: [
        ["/mnt/latchkey", "unlock", "/mnt/root.img", "--passphrase-file", "/mnt/passphrase"],
        ["bcachefs", "unlock", "-f", "/mnt/passphrase", "/mnt/root.img"],
      ],
      pairs,
      memoryPairs: MEMORY_PAIRS,
      key,
    },
  ]);
  const result = resultOf(results, "unlock");
  return `## Unlocking

\`latchkey unlock IMAGE --passphrase-file F\` against \`bcachefs unlock -f F IMAGE\` in the same chroot on the same image, whole
processes, ${many(pairs, "pair")} (memory: ${MEMORY_PAIRS}). The key is looked for after each run and taken out of the keyring again.

${comparisonTable(["latchkey", "bcachefs"], [...timeRows(result, 0), peakRow(result)])}
`;
}
