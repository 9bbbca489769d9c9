import { closeSync, constants, openSync, readSync, statSync } from "node:fs";
import { isAbsolute, resolve } from "node:path";
import type { Command } from "commander";
import { parseDeviceReference } from "../config/device-reference.ts";
import { describeSuperblock, descriptionText } from "../providers/bcachefs/describe.ts";
import { readLuksHeader } from "../providers/luks/read-header.ts";
import { readTokenFile } from "../sources/clevis/token-file.ts";
import { SystemBlockDevices } from "../system/block-devices.ts";
import { asLatchkeyError, exitStatus, LatchkeyError } from "../system/errors.ts";
import { luksFacts, luksText } from "./inspect-luks.ts";
import { type TokenFacts, tokenFacts, tokenText } from "./inspect-token.ts";
import { acts, print, printJson, printNote } from "./run.ts";

interface Options {
  readonly json?: true;
}

export function registerInspect(program: Command): void {
  const command = program
    .command("inspect")
    .argument("<device|token>", "a path, an image file, UUID=…, or the file of a Clevis token")
    .summary("what a device or token is and what it needs; no secret")
    .description(
      "Shows what lies in clear on a device: identity, members or key slots and tokens, every copy of the superblock or header, and what opening it takes. For a Clevis token: its pins, servers and PCRs. Asks for nothing and changes nothing.",
    )
    .option("--json", "print the facts as JSON")
    .addHelpText("after", "\nExamples:\n  sudo latchkey inspect /dev/sda2\n  latchkey inspect /etc/latchkey/root.jwe");
  acts(command, async (argument: string, options: Options) => {
    if (isTokenFile(argument)) {
      const facts = factsOfToken(argument);
      if (options.json) printJson(facts);
      else print(tokenText(facts));
      return exitStatus.done;
    }
    const devices = new SystemBlockDevices();
    await using reader = await devices.open(await pathOf(argument, devices));
    const header = await readLuksHeader(reader);
    if (header) {
      for (const note of header.notes) printNote(note);
      const facts = luksFacts(reader.path, header);
      if (options.json) printJson(snakeCaseKeys(facts));
      else print(luksText(facts));
      return exitStatus.done;
    }
    const description = await describeSuperblock(reader);
    if (options.json) printJson(snakeCaseKeys(description));
    else print(descriptionText(description).trimEnd());
    return exitStatus.done;
  });
}

function factsOfToken(path: string): TokenFacts {
  const { text } = readTokenFile(path);
  try {
    return tokenFacts(text);
  } catch (thrown) {
    const { code, message, hint } = asLatchkeyError(thrown);
    throw new LatchkeyError(code, `${path}: ${message}`, hint === undefined ? {} : { hint });
  }
}

const TOKEN_SUFFIX = /\.(?:jwe|json|token)$/;
/** A compact token starts with the base64url of `{"`, the others are JSON. No disk or image starts with either. */
const TOKEN_START = /^\s*(?:eyJ|\{)/;
/** Bytes that are looked at for it. */
const START_LENGTH = 64;

/** Tokens are text files; anything else is looked at as a device. */
function isTokenFile(path: string): boolean {
  try {
    return statSync(path).isFile() && (TOKEN_SUFFIX.test(path) || TOKEN_START.test(startOf(path)));
  } catch {
    return false; // then opening it says why
  }
}

function startOf(path: string): string {
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const start = Buffer.alloc(START_LENGTH);
    return start.toString("latin1", 0, readSync(file, start));
  } finally {
    closeSync(file);
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

/** JSON for people and scripts has the spelling of the report: `memory_bytes`. */
function snakeCaseKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(snakeCaseKeys);
  if (typeof value !== "object" || value === null) return value;
  const spelled = (key: string): string => key.replace(/(?<=[a-z])[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [spelled(key), snakeCaseKeys(inner)]));
}
