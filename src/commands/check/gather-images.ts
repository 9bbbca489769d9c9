import { carriedFiles, installedKernels, PROGRAM } from "../../stacks/facts.ts";
import { compareImage } from "../../stacks/image-audit.ts";
import { auditNeeds } from "../../stacks/image-needs.ts";
import type { Machine } from "../../stacks/machine.ts";
import { rootIsBcachefs } from "../../stacks/root-filesystem.ts";
import type { Stack } from "../../stacks/stack.ts";
import type { Clock } from "../../system/clock.ts";
import { LatchkeyError } from "../../system/errors.ts";
import type { Gathered, ImageContent, ImageFacts, KernelImage } from "./facts.ts";
import { gathered } from "./gathered.ts";

/** Milliseconds until one image is unpacked and compared: a large one on a slow disk takes half a minute. */
const IMAGE_LIMIT = 120_000;
/** More kernels than anybody keeps; each takes seconds. */
const MOST_IMAGES = 8;

export interface ImageWishes {
  /** Some volume is a bcachefs; otherwise nobody misses its driver. */
  readonly wantsBcachefs: boolean;
  /** Words of `latchkey image-needs`. */
  readonly needs: ReadonlySet<string>;
  readonly keyFiles: readonly string[];
  /** Other files that are wanted there: tokens, certificates, LUKS headers. */
  readonly files: readonly string[];
  readonly hasRemote: boolean;
}

/** What builds initrds here. Where several could, the one that latchkey's files were put into. */
export async function stacksHere(machine: Machine, all: readonly Stack[]): Promise<readonly Stack[]> {
  const installed: Stack[] = [];
  for (const stack of all) if (await stack.isInstalled(machine)) installed.push(stack);
  const used = installed.filter((stack) => stack.files.some(({ path }) => machine.files.facts(path)));
  return installed.length > 1 && used.length > 0 ? used : installed;
}

/** NixOS makes its initrd by itself (NixOS manual; its stage 1 knows the file as well). */
export function isNixos({ files }: Pick<Machine, "files">): boolean {
  return files.facts("/etc/NIXOS") !== undefined;
}

export async function gatherImages(
  stacks: readonly Stack[],
  wishes: ImageWishes,
  /** A machine whose programs end with the signal. */
  machineUntil: (signal: AbortSignal) => Machine,
  clock: Clock,
  signal: AbortSignal,
): Promise<Gathered<ImageFacts>> {
  return await gathered("what the initrds hold", MOST_IMAGES * IMAGE_LIMIT, clock, signal, async (until) => {
    const machine = machineUntil(until);
    const names = stacks.map(({ name }) => name);
    const [stack, ...others] = stacks;
    if (!stack || others.length > 0) return { stacks: names, isNixos: isNixos(machine), images: [] };
    const images: KernelImage[] = [];
    for (const { version, image } of installedKernels(machine.files, stack).slice(0, MOST_IMAGES)) {
      const content =
        image === undefined
          ? undefined
          : await gathered(`the image ${image}`, IMAGE_LIMIT, clock, until, async (each) =>
              lookInto(machineUntil(each), stack, { kernel: version, image }, wishes, each),
            );
      images.push({ kernel: version, image, content });
    }
    return { stacks: names, isNixos: false, images };
  });
}

async function lookInto(
  machine: Machine,
  stack: Stack,
  { kernel, image }: { readonly kernel: string; readonly image: string },
  wishes: ImageWishes,
  signal: AbortSignal,
): Promise<ImageContent> {
  // Unpacked by root alone: device nodes and owners are part of an image, and most images are root's to read.
  if (!machine.isRoot) return { by: "time", why: "that takes root", newer: newerThan(machine, stack, image, wishes) };
  const { files } = machine;
  const folder = files.makeWorkFolder();
  // Whoever is not waited for any longer may not come to the end of this.
  const remove = (): void => files.removeTree(folder);
  signal.addEventListener("abort", remove, { once: true });
  try {
    const tree = `${folder}/tree`;
    files.makeFolder(tree);
    const unpacked = await stack.unpack(machine, image, tree);
    if ("failure" in unpacked) {
      const why = `it could not be unpacked: ${unpacked.failure || "no reason given"}`;
      return { by: "time", why, newer: newerThan(machine, stack, image, wishes) };
    }
    const needsBcachefs = rootIsBcachefs(files);
    return {
      by: "looking",
      findings: [
        ...compareImage(machine, stack, unpacked.tree, { kernel, needsBcachefs, ...wishes }),
        ...auditNeeds(machine, stack, unpacked.tree, kernel, wishes.needs),
      ],
      namesVolumes: namesVolumes(files, stack, unpacked.tree),
    };
  } finally {
    signal.removeEventListener("abort", remove);
    remove();
  }
}

/** @returns texts in which a volume that the image opens has its name or UUID */
function namesVolumes(files: Machine["files"], stack: Stack, tree: string): string {
  const folder = "/etc/cmdline.d";
  const paths = [...stack.crypttabsInImage, ...files.list(tree + folder).map((name) => `${folder}/${name}`)];
  return [...paths.map((path) => files.readText(tree + path)), files.readText("/proc/cmdline")].join("\n");
}

/** Files that an image is made from and that changed after it. */
function newerThan({ files }: Machine, stack: Stack, image: string, wishes: ImageWishes): readonly string[] {
  const made = files.modified(image);
  if (made === undefined) throw new LatchkeyError("device/missing", `${image} does not exist`);
  const parts = new Set([
    ...files.walkThroughLinks("/etc/latchkey"),
    ...wishes.keyFiles,
    ...wishes.files,
    PROGRAM,
    ...carriedFiles(stack).map(({ path }) => path),
  ]);
  return [...parts].filter((path) => (files.modified(path) ?? 0) > made);
}
