import { basename, dirname } from "node:path";
import { LatchkeyError } from "../system/errors.ts";
import type { Finding } from "./image-audit.ts";
import type { Machine } from "./machine.ts";
import type { Stack } from "./stack.ts";
import type { ImageStep } from "./steps.ts";

/** Debian's dracut and initramfs-tools run what is here after an image has changed: boot loaders that keep a copy of it. */
const POST_UPDATE_HOOKS = "/etc/initramfs/post-update.d";

/** The name under which the image from before latchkey is kept. */
export function oldImage(image: string): string {
  return `${image}.latchkey-old`;
}

export type AuditTree = (tree: string) => Promise<readonly Finding[]>;

/**
 * Builds an image in a folder of its own, looks into it, and only then puts it in place. Until the last step, a rename,
 * the machine boots what it booted before.
 * @throws LatchkeyError with the old image untouched
 */
export async function makeImage(
  machine: Machine,
  stack: Stack,
  step: ImageStep,
  audit: AuditTree,
  print: (line: string) => void,
): Promise<void> {
  const { files } = machine;
  const folder = files.makeWorkFolder();
  try {
    const built = `${folder}/initrd`;
    await build(machine, stack, step.kernel, built, print);
    const findings = await audit(await unpack(machine, stack, built, folder));
    for (const { level, text } of findings) print(`  ${level === "failure" ? "FAILED" : level}: ${text}`);
    const failed = findings.find(({ level }) => level === "failure");
    if (failed) {
      throw new LatchkeyError(
        "install/audit-failed",
        `the new image for kernel ${step.kernel} is not good: ${failed.text}`,
        {
          hint: `${step.image} is as it was; the machine boots as before`,
        },
      );
    }
    await place(machine, stack, step, built, print);
  } finally {
    files.removeTree(folder);
  }
  await tellBootLoaders(machine, step);
}

async function build(
  machine: Machine,
  stack: Stack,
  kernel: string,
  built: string,
  print: (line: string) => void,
): Promise<void> {
  const { command, environment } = stack.buildCommand(kernel, machine.files.outside(built));
  const outcome = await machine.run(command, { environment });
  const lines = outcome.stderr.split("\n");
  for (const line of lines.filter((one) => stack.complaints.test(one))) print(`  ${line}`);
  const facts = machine.files.facts(built);
  if (outcome.status === 0 && facts) {
    print(`  built: ${megabytes(facts.size)}`);
    return;
  }
  const last = lines.findLast((line) => line.trim() !== "") ?? "it said nothing";
  throw new LatchkeyError(
    "install/build-failed",
    `${command[0]} could not build an image for kernel ${kernel} (status ${outcome.status}): ${last}`,
    { hint: `the images in place are as they were; ${stack.advice.tryOut}` },
  );
}

async function unpack(machine: Machine, stack: Stack, built: string, folder: string): Promise<string> {
  const tree = `${folder}/tree`;
  machine.files.makeFolder(tree);
  const unpacked = await stack.unpack(machine, built, tree);
  if ("tree" in unpacked) return unpacked.tree;
  throw new LatchkeyError("install/audit-failed", `the new image cannot be unpacked: ${unpacked.failure}`, {
    hint: "is there room in /var/tmp? the images in place are as they were",
  });
}

async function place(
  machine: Machine,
  stack: Stack,
  step: ImageStep,
  built: string,
  print: (line: string) => void,
): Promise<void> {
  const { files } = machine;
  const folder = dirname(step.image);
  const made = files.facts(built);
  const size = made?.size ?? 0;
  const old = files.facts(step.image);
  const free = files.freeBytes(folder);
  if (free < size) {
    throw new LatchkeyError(
      "install/no-room",
      `no room in ${folder}: the new image has ${megabytes(size)}, and ${megabytes(free)} are free; ${basename(step.image)} is as it was`,
      { hint: `remove an old kernel, or ${stack.advice.compress}` },
    );
  }
  if (old && step.keepOld) await keepOldImage(machine, stack, step.image, free - 2 * size > 0, print);
  // No wider than what the tool made: with UMASK=0077 it says that there are secrets in it, initramfs.conf(5).
  files.copy(built, step.image, old ? old.mode & (made?.mode ?? 0) : 0o600);
  print(`  in place: ${step.image}`);
}

/** Keeps the image from before latchkey; only that one, and only while the next kernel's image still has room. */
async function keepOldImage(
  machine: Machine,
  stack: Stack,
  image: string,
  hasRoom: boolean,
  print: (line: string) => void,
): Promise<void> {
  const { files } = machine;
  const kept = oldImage(image);
  if (files.facts(kept)) return;
  if (await stack.holdsLatchkey(machine, image)) return;
  // Fails on vfat, which has no second names; a copy would be one more thing to fill a small partition.
  const isKept = hasRoom && files.secondName(image, kept);
  print(
    isKept
      ? `  kept: ${kept}, the image from before latchkey`
      : "  not kept for want of room: the image from before latchkey",
  );
}

async function tellBootLoaders(machine: Machine, step: ImageStep): Promise<void> {
  if (machine.files.list(POST_UPDATE_HOOKS).length === 0) return;
  const outcome = await machine.run([
    "run-parts",
    `--arg=${step.kernel}`,
    `--arg=${step.image}`,
    machine.files.outside(POST_UPDATE_HOOKS),
  ]);
  if (outcome.status === 0) return;
  const last = outcome.stderr.trim().split("\n").at(-1) || `status ${outcome.status}`;
  throw new LatchkeyError("install/boot-loader", `the boot loader did not take the new image over: ${last}`, {
    hint: `${step.image} is new and good; run the boot loader's own update before the next boot`,
  });
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
