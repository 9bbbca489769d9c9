import type { Command } from "commander";
import { loadPlan } from "../config/load.ts";
import { type Stack, writeRemoteImage } from "../stacks/remote/image.ts";
import { thisMachine } from "../stacks/this-machine.ts";
import { exitStatus, LatchkeyError } from "../system/errors.ts";
import { acts, print, printWarning } from "./run.ts";

/**
 * For the hooks that build images: they can copy programs with their libraries, and cannot read keys. Prints a line for each
 * thing that is theirs to do: `program PATH`, and `adopted` where another package starts the server. Not part of the help.
 */
export function registerImageRemote(program: Command): void {
  const command = program
    .command("image-remote", { hidden: true })
    .summary("write what the initrd's SSH server needs into an image")
    .description(
      "Writes the keys, settings and scripts of the SSH server into the image below a folder, if the source remote is configured, and prints which programs are to be copied there.",
    )
    .argument("<stack>", "dracut or initramfs-tools")
    .argument("<folder>", "where the image is put together")
    .option("--config <file>", "configuration file");
  acts(command, (stack: string, folder: string, options: { readonly config?: string }) => {
    if (!isStack(stack)) throw new LatchkeyError("usage/invalid", `there is no stack ${stack}`);
    const plan = loadPlan({ mode: "boot", configFile: options.config });
    if (!plan.remote) return exitStatus.done;
    const image = writeRemoteImage(thisMachine().files, folder, stack, plan.remote);
    for (const warning of image.warnings) printWarning(warning);
    for (const path of image.programs) print(`program ${path}`);
    if (image.isAdopted) print("adopted");
    return exitStatus.done;
  });
}

function isStack(word: string): word is Stack {
  return word === "dracut" || word === "initramfs-tools";
}
