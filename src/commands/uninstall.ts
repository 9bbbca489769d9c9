import type { Command } from "commander";
import { planUninstall } from "../stacks/plan.ts";
import { addInitrdOptions, changeInitrd, type InitrdOptions } from "./change-initrd.ts";
import { acts } from "./run.ts";

export function registerUninstall(program: Command): void {
  const command = program
    .command("uninstall")
    .summary("take latchkey out of the initrd")
    .description(
      "Removes the hooks that `latchkey install` put in place and builds the initrd of each kernel without them. The configuration and the program itself stay.",
    );
  addInitrdOptions(command).addHelpText("after", "\nExample:\n  sudo latchkey uninstall");
  acts(
    command,
    async (stack: string | undefined, options: InitrdOptions) => await changeInitrd(stack, options, planUninstall),
  );
}
