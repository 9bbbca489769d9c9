import { statSync } from "node:fs";
import { isAbsolute, resolve } from "node:path";
import type { Command } from "commander";
import { parseDeviceReference } from "../config/device-reference.ts";
import { describeSuperblock, descriptionText } from "../providers/bcachefs/describe.ts";
import { readTokenFile } from "../sources/clevis/token-file.ts";
import { SystemBlockDevices } from "../system/block-devices.ts";
import { exitStatus, LatchkeyError } from "../system/errors.ts";
import { tokenFacts, tokenText } from "./inspect-token.ts";
import { acts, print, printJson } from "./run.ts";

interface Options {
  readonly json?: true;
}

export function registerInspect(program: Command): void {
  const command = program
    .command("inspect")
    .argument("<device|token>", "a path, an image file, UUID=…, or the file of a Clevis token")
    .summary("what a device or token is and what it needs; no secret")
    .description(
      "Shows what lies in clear on a device: identity, members, every copy of the superblock, and what opening it takes. For a Clevis token: its pins, servers and PCRs. Asks for nothing and changes nothing.",
    )
    .option("--json", "print the facts as JSON")
    .addHelpText("after", "\nExamples:\n  sudo latchkey inspect /dev/sda2\n  latchkey inspect /etc/latchkey/root.jwe");
  acts(command, async (argument: string, options: Options) => {
    if (isTokenFile(argument)) {
      const facts = tokenFacts(readTokenFile(argument).text);
      if (options.json) printJson(facts);
      else print(tokenText(facts));
      return exitStatus.done;
    }
    const devices = new SystemBlockDevices();
    await using reader = await devices.open(await pathOf(argument, devices));
    const description = await describeSuperblock(reader);
    if (options.json) printJson(description);
    else process.stdout.write(descriptionText(description));
    return exitStatus.done;
  });
}

/** A device or an image has no such small size: a superblock alone has 4 KiB at byte 4096. */
const SMALLEST_IMAGE = 8192;
const TOKEN_SUFFIX = /\.(?:jwe|json|token)$/;

/** Tokens are small text files; anything else is looked at as a device. */
function isTokenFile(path: string): boolean {
  try {
    const found = statSync(path);
    return found.isFile() && (TOKEN_SUFFIX.test(path) || found.size < SMALLEST_IMAGE);
  } catch {
    return false; // then opening it says why
  }
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
