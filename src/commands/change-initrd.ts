import type { Command } from "commander";
import { type DracutFacts, lookAtDracut } from "../stacks/dracut-facts.ts";
import type { InstallOptions } from "../stacks/dracut-plan.ts";
import { runSteps } from "../stacks/run-steps.ts";
import { describeStep, type Step } from "../stacks/steps.ts";
import { thisMachine } from "../stacks/this-machine.ts";
import { exitStatus, LatchkeyError } from "../system/errors.ts";
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
  return command
    .argument("[stack]", "what builds the initrd here: dracut")
    .option("--kver <version>", "only for this kernel")
    .option("--image <file>", "the initrd, where it is not found by itself")
    .option("--dry-run", "show what would be done, change nothing")
    .option("--no-rebuild", "put the files in place, build no image");
}

/**
 * Plans, then shows the plan or carries it out.
 * @throws LatchkeyError
 */
export async function changeInitrd(
  stack: string | undefined,
  options: InitrdOptions,
  plan: (facts: DracutFacts, options: InstallOptions) => readonly Step[],
): Promise<number> {
  requireKnownStack(stack);
  const machine = thisMachine();
  if (!machine.isRoot && !options.dryRun) {
    throw new LatchkeyError("install/not-root", "only root can change the system's initrd", { hint: "use sudo" });
  }
  const wanted: InstallOptions = { kernel: options.kver, image: options.image, rebuild: options.rebuild };
  const steps = plan(await lookAtDracut(machine), wanted);
  if (options.dryRun) for (const step of steps) print(describeStep(step));
  else await runSteps(machine, steps, print);
  return exitStatus.done;
}

function requireKnownStack(stack: string | undefined): void {
  if (stack === undefined || stack === "dracut") return;
  throw new LatchkeyError("usage/invalid", `latchkey does not know how to install into ${stack}`, {
    hint: "it knows: dracut",
  });
}
