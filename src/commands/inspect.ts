import { isAbsolute, resolve } from "node:path";
import type { Command } from "commander";
import { parseDeviceReference } from "../config/device-reference.ts";
import { describeSuperblock, descriptionText } from "../providers/bcachefs/describe.ts";
import { SystemBlockDevices } from "../system/block-devices.ts";
import { exitStatus, LatchkeyError } from "../system/errors.ts";
import { acts, printJson } from "./run.ts";

interface Options {
  readonly json?: true;
}

export function registerInspect(program: Command): void {
  const command = program
    .command("inspect")
    .argument("<device>", "a path, an image file, or UUID=…")
    .summary("what a device is and what it needs; no secret")
    .description(
      "Shows what lies in clear on a device: identity, members, every copy of the superblock, and what opening it takes. Asks for nothing and changes nothing.",
    )
    .option("--json", "print the facts as JSON")
    .addHelpText("after", "\nExample:\n  sudo latchkey inspect /dev/sda2");
  acts(command, async (argument: string, options: Options) => {
    const devices = new SystemBlockDevices();
    await using reader = await devices.open(await pathOf(argument, devices));
    const description = await describeSuperblock(reader);
    if (options.json) printJson(description);
    else process.stdout.write(descriptionText(description));
    return exitStatus.done;
  });
}

/** A tag is looked up among udev's links; anything else is a path. */
async function pathOf(argument: string, devices: SystemBlockDevices): Promise<string> {
  if (!/^[A-Z]+=/.test(argument)) return isAbsolute(argument) ? argument : resolve(argument);
  const parsed = parseDeviceReference(argument);
  if ("problem" in parsed) throw new LatchkeyError("usage/invalid", `${argument}: ${parsed.problem}`);
  const path = await devices.resolve(parsed.value);
  if (path === undefined) throw new LatchkeyError("device/missing", `there is no device ${argument}`);
  return path;
}
