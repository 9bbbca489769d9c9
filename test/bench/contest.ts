import { linkSync, writeFileSync } from "node:fs";
import { copyFile } from "node:fs/promises";
import { join } from "node:path";
import type { Guest } from "../vm/guest/chroot.ts";
import { runInside } from "../vm/guest/inside.ts";
import { seconds } from "../vm/patience.ts";
import { runDirectory } from "../vm/run-directory.ts";
import type { Contest, ContestResult, Run } from "./inside.ts";

/** What goes into the guest beside the rivals, by the name it gets in /mnt. */
export type Contents = Readonly<Record<string, { readonly file: string } | { readonly text: string }>>;

/**
 * Lets the rivals run in the guest: the real tool as Debian builds it, with its own libraries, and ours beside it, both started by the same
 * process. All mounts are in a namespace that goes with it.
 */
export async function holdContests(
  guest: Guest,
  contents: Contents,
  contests: readonly Contest[],
): Promise<readonly ContestResult[]> {
  using directory = runDirectory();
  const program = await Bun.build({ entrypoints: [join(import.meta.dir, "inside.ts")], target: "bun" });
  const [bundle] = program.outputs;
  if (!program.success || !bundle) throw new AggregateError(program.logs, "inside.ts cannot be bundled");
  await place(directory.files, {
    ...contents,
    bun: { file: process.execPath },
    "inside.js": { text: await bundle.text() },
    "plan.json": { text: JSON.stringify(contests) },
  });
  const output = await runInside(guest, "exec /mnt/bun /mnt/inside.js /mnt/plan.json", {
    purpose: "comparing programs",
    within: seconds(600),
    exchange: directory.files,
  });
  return JSON.parse(output) as readonly ContestResult[];
}

async function place(directory: string, contents: Contents): Promise<void> {
  for (const [name, content] of Object.entries(contents)) {
    const target = join(directory, name);
    if ("text" in content) writeFileSync(target, content.text);
    else await linkOrCopy(content.file, target);
  }
}

/** For files that nothing writes to. */
export async function linkOrCopy(file: string, target: string): Promise<void> {
  try {
    linkSync(file, target);
  } catch {
    await copyFile(file, target);
  }
}

/** The contest of this name; throws when it was not held. */
export function resultOf(results: readonly ContestResult[], name: string): ContestResult {
  const result = results.find((one) => one.name === name);
  if (!result) throw new Error(`no contest ${name}`);
  return result;
}

const column = (runs: readonly Run[], quantity: "wallMs" | "cpuMs"): readonly number[] =>
  runs.map((run) => run[quantity]);

/** Wall and processor time as rows of a comparison. */
export function timeRows({ runs: [ours, theirs] }: ContestResult, digits: number, prefix = "") {
  return (["wallMs", "cpuMs"] as const).map((quantity) => ({
    what: `${prefix}${quantity === "wallMs" ? "wall, ms" : "processor, ms"}`,
    ours: column(ours, quantity),
    theirs: column(theirs, quantity),
    digits,
  }));
}

/** The peak of resident memory as a row of a comparison. */
export function peakRow({ peakKib: [ours, theirs] }: ContestResult) {
  const mebibytes = (values: readonly number[]) => values.map((value) => value / 1024);
  return { what: "peak memory, MiB", ours: mebibytes(ours), theirs: mebibytes(theirs), digits: 1 };
}
