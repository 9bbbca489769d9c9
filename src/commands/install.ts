import type { Command } from "commander";
import { planInstall } from "../stacks/plan.ts";
import { thisMachine } from "../stacks/this-machine.ts";
import { addInitrdOptions, changeInitrd, type InitrdOptions } from "./change-initrd.ts";
import { prepareRemote } from "./prepare-remote.ts";
import { acts, print } from "./run.ts";

export function registerInstall(program: Command): void {
  const command = program
    .command("install")
    .summary("put latchkey into the initrd, and look whether it is in it")
    .description(
      "Puts the hooks that this program carries in place, builds the initrd of each kernel anew, unpacks and audits it, and only then puts it where the old one was. An image that fails the audit replaces nothing.",
    );
  addInitrdOptions(command).addHelpText("after", "\nExample:\n  sudo latchkey install");
  acts(
    command,
    async (stack: string | undefined, options: InitrdOptions) =>
      await changeInitrd(stack, options, planInstall, async ({ name }, isDryRun) => {
        await prepareRemote(thisMachine(), name, isDryRun, print);
      }),
  );
}
