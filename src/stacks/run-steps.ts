import { asLatchkeyError } from "../system/errors.ts";
import { versionLine } from "../version.ts";
import { dracutFiles, dracutUnits } from "./dracut-files.ts";
import { auditImage, type Finding } from "./image-audit.ts";
import type { Machine } from "./machine.ts";
import { makeImage } from "./make-image.ts";
import { rootIsBcachefs } from "./root-filesystem.ts";
import { describeStep, type ImageStep, type Step } from "./steps.ts";

/**
 * Carries a plan out, each step announced by its line. Ends at the first step that fails, but one kernel whose image is not
 * good does not keep the others from theirs.
 * @throws LatchkeyError the first failure
 */
export async function runSteps(machine: Machine, steps: readonly Step[], print: (line: string) => void): Promise<void> {
  let failure: unknown;
  for (const step of steps) {
    print(describeStep(step));
    try {
      await runStep(machine, step, print);
    } catch (thrown) {
      if (step.do !== "image") throw thrown;
      if (failure !== undefined) print(`  FAILED: ${asLatchkeyError(thrown).message}`);
      failure ??= thrown;
    }
  }
  if (failure !== undefined) throw failure;
}

async function runStep(machine: Machine, step: Step, print: (line: string) => void): Promise<void> {
  const { files } = machine;
  switch (step.do) {
    case "nothing":
      return;
    case "copy-program":
      return files.copy(step.from, step.to, 0o755);
    case "write":
      return files.write(step.file.path, step.file.text, step.file.mode);
    case "remove":
      return files.remove(step.path);
    case "remove-folder":
      files.removeEmptyFolder(step.path);
      return;
    case "image":
      return makeImage(machine, step, (tree) => audit(machine, step, tree), print);
  }
}

async function audit(machine: Machine, step: ImageStep, tree: string): Promise<readonly Finding[]> {
  if (step.latchkey) {
    return auditImage(machine, tree, {
      kernel: step.kernel,
      versionLine,
      files: dracutFiles,
      units: dracutUnits,
      needsBcachefs: rootIsBcachefs(machine.files),
    });
  }
  if (!machine.files.facts(`${tree}/init`)) return [{ level: "failure", text: "it has no /init" }];
  const isGone = machine.files.facts(`${tree}/usr/bin/latchkey`) === undefined;
  return [isGone ? { level: "ok", text: "latchkey is gone" } : { level: "failure", text: "latchkey is still in it" }];
}
