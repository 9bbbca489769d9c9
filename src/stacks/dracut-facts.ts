import { versionLine } from "../version.ts";
import { dracutFiles } from "./dracut-files.ts";
import type { Files } from "./files.ts";
import { imageCandidates, oldImage } from "./image-paths.ts";
import type { Machine } from "./machine.ts";
import { rootIsBcachefs } from "./root-filesystem.ts";

export const PROGRAM = "/usr/bin/latchkey";

export interface InstalledKernel {
  readonly version: string;
  /** Its initrd, when there is one where it is looked for. */
  readonly image: string | undefined;
}

/** What planning needs to know of the machine. */
export interface DracutFacts {
  /** `dracut 106-6`, undefined when it is not installed. */
  readonly dracut: string | undefined;
  readonly program: {
    /** The file that runs now. */
    readonly path: string;
    /** What that file answers to --version, and what this program calls itself: they differ when run from its sources. */
    readonly answer: string;
    readonly expected: string;
    /** What /usr/bin/latchkey answers; undefined when there is none. */
    readonly installed: string | undefined;
  };
  /** The carried files that are there, by path, with their text. */
  readonly present: ReadonlyMap<string, string>;
  readonly kernels: readonly InstalledKernel[];
  readonly rootIsBcachefs: boolean;
  /** Images from before latchkey that were kept. */
  readonly keptImages: readonly string[];
}

/** @param runningProgram the file this process was started from */
export async function lookAtDracut(machine: Machine, runningProgram: string = process.execPath): Promise<DracutFacts> {
  const { files, run } = machine;
  const answerOf = async (path: string): Promise<string> =>
    (await run([files.outside(path), "--version"])).stdout.split("\n", 1)[0] ?? "";
  const dracut = await run(["dracut", "--version"]);
  const kernels = installedKernels(files);
  return {
    dracut: dracut.status === 0 ? dracut.stdout.trim() : undefined,
    program: {
      path: runningProgram,
      answer: await answerOf(runningProgram),
      expected: versionLine,
      installed: files.facts(PROGRAM) === undefined ? undefined : await answerOf(PROGRAM),
    },
    present: new Map(
      dracutFiles.flatMap(({ path }) => {
        const text = files.readText(path);
        return text === undefined ? [] : [[path, text] as const];
      }),
    ),
    kernels,
    rootIsBcachefs: rootIsBcachefs(files),
    keptImages: kernels.flatMap(({ image }) => {
      const kept = image === undefined ? undefined : oldImage(image);
      return kept !== undefined && files.facts(kept) ? [kept] : [];
    }),
  };
}

function installedKernels(files: Files): readonly InstalledKernel[] {
  const machineId = files.readText("/etc/machine-id")?.trim() || undefined;
  return files
    .list("/usr/lib/modules")
    .filter((version) => files.facts(`/usr/lib/modules/${version}/modules.dep`)) // what a removed kernel leaves has none
    .sort(new Intl.Collator("en", { numeric: true }).compare)
    .reverse() // the newest is the one that boots next
    .map((version) => ({
      version,
      image: imageCandidates(version, machineId).find((path) => files.facts(path)),
    }));
}
