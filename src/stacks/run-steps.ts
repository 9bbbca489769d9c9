import { asLatchkeyError } from "../system/errors.ts";
import { versionLine } from "../version.ts";
import { auditImage, type Finding } from "./image-audit.ts";
import type { Machine } from "./machine.ts";
import { makeImage } from "./make-image.ts";
import { rootIsBcachefs } from "./root-filesystem.ts";
import type { Stack } from "./stack.ts";
import { describeStep, type ImageStep, type Step } from "./steps.ts";

/** What the configuration wants of every image. */
export interface ImageWishes {
  readonly keyFiles: readonly string[];
  readonly files: readonly string[];
  readonly hasRemote: boolean;
}

/**
 * Carries a plan out, each step announced by its line. Ends at the first step that fails, but one kernel whose image is not
 * good does not keep the others from theirs.
 * @throws LatchkeyError the first failure
 */
export async function runSteps(
  machine: Machine,
  stack: Stack,
  steps: readonly Step[],
  wishes: ImageWishes,
  print: (line: string) => void,
): Promise<void> {
  let failure: unknown;
  for (const step of steps) {
    print(describeStep(step));
    try {
      if (step.do === "image") {
        await makeImage(machine, stack, step, (tree) => audit(machine, stack, step, tree, wishes), print);
      } else {
        runStep(machine, step);
      }
    } catch (thrown) {
      if (step.do !== "image") throw thrown;
      if (failure !== undefined) print(`  FAILED: ${asLatchkeyError(thrown).message}`);
      failure ??= thrown;
    }
  }
  if (failure !== undefined) throw failure;
}

function runStep({ files }: Machine, step: Exclude<Step, ImageStep>): void {
  switch (step.do) {
    case "nothing":
      return;
    case "copy-program":
      files.copy(step.from, step.to, 0o755);
      return;
    case "write":
      files.write(step.file.path, step.file.text, step.file.mode);
      return;
    case "remove":
      files.remove(step.path);
      return;
    case "remove-folder":
      files.removeEmptyFolder(step.path);
      return;
  }
}

async function audit(
  machine: Machine,
  stack: Stack,
  step: ImageStep,
  tree: string,
  wishes: ImageWishes,
): Promise<readonly Finding[]> {
  if (step.latchkey) {
    return auditImage(machine, stack, tree, {
      kernel: step.kernel,
      versionLine,
      ...wishes,
      needsBcachefs: rootIsBcachefs(machine.files),
    });
  }
  if (!machine.files.facts(`${tree}/init`)) return [{ level: "failure", text: "it has no /init" }];
  const isGone = machine.files.facts(`${tree}/usr/bin/latchkey`) === undefined;
  return [isGone ? { level: "ok", text: "latchkey is gone" } : { level: "failure", text: "latchkey is still in it" }];
}
