import type { Command } from "commander";
import { loadPlan } from "../config/load.ts";
import { chooseStack, stacks } from "../stacks/choose-stack.ts";
import { lookAtStack, type StackFacts } from "../stacks/facts.ts";
import type { InstallOptions } from "../stacks/plan.ts";
import { runSteps } from "../stacks/run-steps.ts";
import type { Stack } from "../stacks/stack.ts";
import { describeStep, type Step } from "../stacks/steps.ts";
import { thisMachine } from "../stacks/this-machine.ts";
import { exitStatus, LatchkeyError } from "../system/errors.ts";
import { filesForImage } from "./image-files.ts";
import { keyFilesForImage } from "./key-file-needs.ts";
import { print } from "./run.ts";

export interface InitrdOptions {
  readonly kver?: string;
  readonly image?: string;
  readonly dryRun?: true;
  /** commander's form of --no-rebuild. */
  readonly rebuild: boolean;
}

/** What `install` and `uninstall` have in common. */
export function addInitrdOptions(command: Command): Command {
  const names = stacks.map(({ name }) => name).join(" or ");
  return command
    .argument("[stack]", `what builds the initrd here: ${names}; by default what is installed`)
    .option("--kver <version>", "only for this kernel")
    .option("--image <file>", "the initrd, where it is not found by itself")
    .option("--dry-run", "show what would be done, change nothing")
    .option("--no-rebuild", "put the files in place, build no image");
}

/** Something that has to be done before an image is built, or would be. */
export type Prepare = (stack: Stack, isDryRun: boolean) => Promise<void>;

/**
 * Plans, then shows the plan or carries it out.
 * @throws LatchkeyError
 */
export async function changeInitrd(
  stackName: string | undefined,
  options: InitrdOptions,
  plan: (stack: Stack, facts: StackFacts, options: InstallOptions) => readonly Step[],
  prepare: Prepare = async () => undefined,
): Promise<number> {
  const machine = thisMachine();
  const stack = await chooseStack(machine, stackName);
  if (!machine.isRoot && !options.dryRun) {
    throw new LatchkeyError("install/not-root", "only root can change the system's initrd", { hint: "use sudo" });
  }
  const wanted: InstallOptions = { kernel: options.kver, image: options.image, rebuild: options.rebuild };
  const steps = plan(stack, await lookAtStack(machine, stack), wanted);
  await prepare(stack, options.dryRun === true);
  if (options.dryRun) {
    for (const step of steps) print(describeStep(step));
  } else {
    const configuration = loadPlan({ mode: "boot" });
    const wishes = {
      keyFiles: keyFilesForImage(configuration),
      files: filesForImage(configuration),
      hasRemote: configuration.remote !== undefined,
    };
    await runSteps(machine, stack, steps, wishes, print);
  }
  return exitStatus.done;
}
