import type { Command } from "commander";
import { planDracutInstall } from "../stacks/dracut-plan.ts";
import { addInitrdOptions, changeInitrd, type InitrdOptions } from "./change-initrd.ts";
import { acts } from "./run.ts";

export function registerInstall(program: Command): void {
  const command = program
    .command("install")
    .summary("put latchkey into the initrd, and look whether it is in it")
    .description(
      "Puts the hooks that this program carries in place, builds the initrd of each kernel anew, unpacks and audits it, and only then puts it where the old one was. An image that fails the audit replaces nothing.",
    );
  addInitrdOptions(command).addHelpText("after", "\nExample:\n  sudo latchkey install dracut");
  acts(
    command,
    async (stack: string | undefined, options: InitrdOptions) => await changeInitrd(stack, options, planDracutInstall),
  );
}
