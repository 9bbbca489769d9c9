import { join } from "node:path";
import type { CarriedFile } from "./carried-file.ts";
import { findKernelModule } from "./kernel-module.ts";
import type { Machine } from "./machine.ts";
import { auditRemote } from "./remote/audit.ts";
import type { Stack } from "./stack.ts";

/** One thing looked at in a finished image. `note`: worth knowing, but the image boots. */
export interface Finding {
  readonly level: "ok" | "note" | "failure";
  readonly text: string;
}

export interface ImageExpectations {
  readonly kernel: string;
  /** What the program in the image has to answer to --version. */
  readonly versionLine: string;
  /** Key files that the configuration wants in the image; no other may be there. */
  readonly keyFiles: readonly string[];
  /** Other files that the configuration names wherever they lie: tokens, certificates, LUKS headers. */
  readonly files: readonly string[];
  /** Somebody is to be able to answer over SSH. */
  readonly hasRemote: boolean;
  /** This machine's root is a bcachefs, so an image without that filesystem cannot boot it. */
  readonly needsBcachefs: boolean;
}

const CONFIGURATION = "/etc/latchkey";

/** The loader by which the C library's programs start, by processor. */
const LOADERS: Readonly<Record<string, string>> = {
  x64: "/lib64/ld-linux-x86-64.so.2",
  arm64: "/lib/ld-linux-aarch64.so.1",
};

/** Looks at an unpacked image: will it do at boot what is installed on this machine? */
export async function auditImage(
  machine: Machine,
  stack: Stack,
  tree: string,
  expected: ImageExpectations,
): Promise<readonly Finding[]> {
  return [
    await auditProgram(machine, tree, expected.versionLine),
    await auditLibraries(machine, tree),
    auditFiles(machine, tree, stack.files),
    ...stack.auditBoot(machine, tree),
    auditConfiguration(machine, tree, expected),
    ...expected.files.flatMap((path) => auditNamedFile(machine, tree, path)),
    auditKernel(machine, tree, expected),
    ...(expected.hasRemote ? [auditRemote(machine, tree)] : []),
  ];
}

/**
 * Compares an image that was found with what is installed here. Nothing of it is run: who could write to /boot decides what
 * is in it.
 */
export function compareImage(
  machine: Machine,
  stack: Stack,
  tree: string,
  expected: Omit<ImageExpectations, "versionLine"> & { readonly wantsBcachefs: boolean },
): readonly Finding[] {
  return [
    compareProgram(machine, tree),
    auditFiles(machine, tree, stack.files),
    ...stack.auditBoot(machine, tree),
    auditConfiguration(machine, tree, expected),
    ...expected.files.flatMap((path) => auditNamedFile(machine, tree, path)),
    ...(expected.needsBcachefs || expected.wantsBcachefs ? [auditKernel(machine, tree, expected)] : []),
    ...(expected.hasRemote ? [auditRemote(machine, tree)] : []),
  ];
}

function compareProgram(machine: Machine, tree: string): Finding {
  const program = `${tree}/usr/bin/latchkey`;
  const facts = machine.files.facts(program);
  if (!facts) return failure("latchkey is not in the image");
  if ((facts.mode & 0o111) !== 0o111) return failure("the program in the image is not executable");
  return sameBytes(machine, program, "/usr/bin/latchkey")
    ? ok("the program in the image is the installed one")
    : failure("the program in the image is not the installed /usr/bin/latchkey");
}

/** The one mistake that nothing else shows: a stripped program is there, starts, and does something else. */
async function auditProgram(machine: Machine, tree: string, versionLine: string): Promise<Finding> {
  const program = `${tree}/usr/bin/latchkey`;
  const facts = machine.files.facts(program);
  if (!facts) return failure("the program is not in the image");
  if ((facts.mode & 0o111) !== 0o111) return failure("the program in the image is not executable");
  const outcome = await machine.run([machine.files.outside(program), "--version"]);
  // /var/tmp is mounted noexec: the bytes have to do.
  if (outcome.status === 126) {
    return sameBytes(machine, program, "/usr/bin/latchkey")
      ? ok("the program in the image is the installed one")
      : failure("the program in the image differs from /usr/bin/latchkey, and cannot be tried in /var/tmp (noexec)");
  }
  const answer = outcome.stdout.trim();
  if (outcome.status === 0 && answer === versionLine) return ok(`the program in the image answers "${answer}"`);
  return failure(
    `the program in the image answers --version with "${answer}" instead of "${versionLine}": it was stripped or damaged`,
  );
}

/** With the image's own loader inside the image: what is missing there is not found elsewhere. */
async function auditLibraries(machine: Machine, tree: string): Promise<Finding> {
  const loader = LOADERS[process.arch] ?? "/lib/ld.so.1";
  const outcome = await machine.run(["chroot", machine.files.outside(tree), loader, "--list", "/usr/bin/latchkey"]);
  if (outcome.status === 0) return ok("its libraries are in the image");
  if (outcome.status === 126) return note("its libraries were not looked at: nothing can be run in /var/tmp (noexec)");
  const reason = outcome.stderr.trim().split("\n").at(-1) || `status ${outcome.status}`;
  return failure(`a library of the program is missing in the image: ${reason}`);
}

function auditFiles({ files }: Machine, tree: string, carried: readonly CarriedFile[]): Finding {
  for (const { text, inImage } of carried) {
    for (const path of inImage) {
      const found = files.readText(tree + path);
      if (found === undefined) return failure(`${path} is not in the image`);
      if (found !== text) return failure(`${path} in the image is not this version's`);
    }
  }
  return ok("units and scripts are in place");
}

function auditConfiguration(
  machine: Machine,
  tree: string,
  { keyFiles, files: named }: Pick<ImageExpectations, "keyFiles" | "files">,
): Finding {
  const { files } = machine;
  const isKey = (path: string): boolean => path.endsWith(".key") && !named.includes(path);
  const wanted = files.walkThroughLinks(CONFIGURATION).filter((path) => !isKey(path) || keyFiles.includes(path));
  for (const path of new Set([...wanted, ...keyFiles])) {
    if (sameBytes(machine, path, tree + path)) continue;
    const isThere = files.facts(tree + path) !== undefined;
    return failure(isThere ? `${path} in the image differs from the one here` : `${path} is not in the image`);
  }
  const inImage = files.walk(tree + CONFIGURATION).map((path) => path.slice(tree.length));
  const leaked = inImage.find((path) => isKey(path) && !keyFiles.includes(path));
  if (leaked !== undefined) return failure(`a key is in the image: ${leaked}`);
  if (wanted.length === 0)
    return ok("no configuration: an encrypted bcachefs root and crypttab are found by themselves");
  return ok(`configuration is as in ${CONFIGURATION} (${wanted.length} files)`);
}

/** Nothing where the folder with the configuration has it: that is compared as a whole. */
function auditNamedFile(machine: Machine, tree: string, path: string): readonly Finding[] {
  if (path.startsWith(`${CONFIGURATION}/`) && machine.files.readBytes(path) !== undefined) return [];
  // The image is good for all other sources, and for the question.
  if (machine.files.readBytes(path) === undefined) return [note(`${path} is not here, and so not in the image`)];
  return sameBytes(machine, path, tree + path)
    ? [ok(`${path} is in the image`)]
    : [failure(`${path} in the image differs from the one here`)];
}

function auditKernel(
  machine: Machine,
  tree: string,
  expected: Pick<ImageExpectations, "kernel" | "needsBcachefs">,
): Finding {
  const { kernel, needsBcachefs } = expected;
  const found = findKernelModule(machine.files, join(tree, "usr/lib/modules", kernel), "bcachefs");
  if (found === "built-in") return ok(`bcachefs is part of kernel ${kernel}`);
  if (found === "present") return ok(`the bcachefs module of kernel ${kernel} is in the image, with all it needs`);
  const what =
    found === "absent"
      ? `the bcachefs module of kernel ${kernel} is not in the image (since 6.18 it comes from a DKMS package)`
      : `the bcachefs module of kernel ${kernel} is in the image, but not what it needs: ${found.missing}`;
  return needsBcachefs ? failure(what) : note(`${what}; this machine's root does not need it`);
}

/** A program of the image, in one of the usual folders. */
export function isProgram(machine: Machine, tree: string, name: string): boolean {
  return ["usr/bin", "usr/sbin"].some((folder) => {
    const facts = machine.files.facts(`${tree}/${folder}/${name}`);
    return facts !== undefined && (facts.kind === "link" || (facts.mode & 0o111) !== 0);
  });
}

function sameBytes(machine: Machine, one: string, other: string): boolean {
  const first = machine.files.readBytes(one);
  const second = machine.files.readBytes(other);
  return first !== undefined && second !== undefined && Buffer.compare(first, second) === 0;
}

export const ok = (text: string): Finding => ({ level: "ok", text });
export const note = (text: string): Finding => ({ level: "note", text });
export const failure = (text: string): Finding => ({ level: "failure", text });
