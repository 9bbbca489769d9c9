import { parseCrypttab } from "../config/crypttab.ts";
import { versionLine } from "../version.ts";
import { bootedFiles } from "./booted-files.ts";
import type { CarriedFile } from "./carried-file.ts";
import type { Files } from "./files.ts";
import type { Machine } from "./machine.ts";
import { oldImage } from "./make-image.ts";
import { rootIsBcachefs } from "./root-filesystem.ts";
import type { Stack } from "./stack.ts";
import { unitUsers } from "./unit-users.ts";

export const PROGRAM = "/usr/bin/latchkey";

export interface InstalledKernel {
  readonly version: string;
  /** Its initrd, when there is one where it is looked for. */
  readonly image: string | undefined;
}

/** What planning needs to know of the machine. */
export interface StackFacts {
  /** Can an image be built here? */
  readonly isInstalled: boolean;
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
  /** Volumes for which crypttab names our keyscript. */
  readonly keyscriptVolumes: readonly string[];
  /** What names a volume's unit in the booted system, in words. */
  readonly unitUsers: readonly string[];
  /** Images from before latchkey that were kept. */
  readonly keptImages: readonly string[];
}

/** What an installation into that stack writes besides the program. */
export function carriedFiles(stack: Stack): readonly CarriedFile[] {
  return [...stack.files, ...bootedFiles];
}

/** @param runningProgram the file this process was started from */
export async function lookAtStack(
  machine: Machine,
  stack: Stack,
  runningProgram: string = process.execPath,
): Promise<StackFacts> {
  const { files, run } = machine;
  const answerOf = async (path: string): Promise<string> =>
    (await run([files.outside(path), "--version"])).stdout.split("\n", 1)[0] ?? "";
  const kernels = installedKernels(files, stack);
  return {
    isInstalled: await stack.isInstalled(machine),
    program: {
      path: runningProgram,
      answer: await answerOf(runningProgram),
      expected: versionLine,
      installed: files.facts(PROGRAM) === undefined ? undefined : await answerOf(PROGRAM),
    },
    present: new Map(
      carriedFiles(stack).flatMap(({ path }) => {
        const text = files.readText(path);
        return text === undefined ? [] : [[path, text] as const];
      }),
    ),
    kernels,
    rootIsBcachefs: rootIsBcachefs(files),
    keyscriptVolumes: keyscriptVolumes(files),
    unitUsers: unitUsers(files),
    keptImages: kernels.flatMap(({ image }) => {
      const kept = image === undefined ? undefined : oldImage(image);
      return kept !== undefined && files.facts(kept) ? [kept] : [];
    }),
  };
}

/** The kernels of this machine, the newest first: that is the one that boots next. */
export function installedKernels(files: Files, stack: Stack): readonly InstalledKernel[] {
  const machineId = files.readText("/etc/machine-id")?.trim() || undefined;
  return files
    .list("/usr/lib/modules")
    .filter((version) => files.facts(`/usr/lib/modules/${version}/modules.dep`)) // what a removed kernel leaves has none
    .sort(new Intl.Collator("en", { numeric: true }).compare)
    .reverse()
    .map((version) => ({
      version,
      image: stack.imageCandidates(version, machineId).find((path) => files.facts(path)),
    }));
}

const CRYPTTAB = "/etc/crypttab";

/** Debian looks for a name without a slash in /lib/cryptsetup/scripts, crypttab(5). */
function keyscriptVolumes(files: Files): readonly string[] {
  const isOurs = (value: string | undefined): boolean =>
    /^(?:(?:\/usr)?\/lib\/cryptsetup\/scripts\/)?latchkey$/.test(value ?? "");
  return parseCrypttab(files.readText(CRYPTTAB) ?? "", CRYPTTAB)
    .entries.filter(({ options }) => options.some(({ name, value }) => name === "keyscript" && isOurs(value)))
    .map(({ name }) => name);
}
