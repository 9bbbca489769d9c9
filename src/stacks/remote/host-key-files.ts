import type { RemotePlan } from "../../config/plan.ts";
import { LatchkeyError } from "../../system/errors.ts";
import type { Machine } from "../machine.ts";
import type { Server } from "./authorized-keys.ts";
import { fingerprint, publicKeyOf } from "./host-key.ts";
import type { Stack } from "./image.ts";
import { ADOPTED_FOLDERS, ADOPTED_HOST_KEYS, HOST_KEYS, SSH_FOLDER } from "./places.ts";
import { chooseServer, PROGRAMS, readServerFacts } from "./server-choice.ts";

/** One Ed25519 key: every SSH client of the last ten years takes it, and one fingerprint is easier to compare than three. */
const TYPE = "ed25519";

/** What `install` is about to do, and says. */
export type HostKeyStep =
  | { readonly do: "keep"; readonly file: string }
  | { readonly do: "convert"; readonly from: string; readonly file: string }
  | { readonly do: "make"; readonly file: string; readonly server: Server };

export function planHostKeys(machine: Machine, stack: Stack, plan: RemotePlan): readonly HostKeyStep[] {
  const { files } = machine;
  const choice = chooseServer(plan.server, readServerFacts(files, stack));
  if (choice.isAdopted) {
    const folder = ADOPTED_FOLDERS.find((path) => files.facts(path)) ?? ADOPTED_FOLDERS[0];
    const present = ADOPTED_HOST_KEYS.map((name) => `${folder}/${name}`).filter((path) => files.facts(path));
    return present.map((file) => ({ do: "keep", file }));
  }
  const file = HOST_KEYS[choice.server];
  if (files.facts(file)) return [{ do: "keep", file }];
  // So that clients see the same key when the server is another one from now on.
  const from = HOST_KEYS[choice.server === "openssh" ? "dropbear" : "openssh"];
  if (files.facts(from) && files.facts(PROGRAMS.dropbearconvert)) return [{ do: "convert", from, file }];
  return [{ do: "make", file, server: choice.server }];
}

export function describeHostKeyStep(step: HostKeyStep): string {
  switch (step.do) {
    case "keep":
      return `host key of the initrd's SSH server: ${step.file}`;
    case "convert":
      return `write ${step.file}, the same key as ${step.from}`;
    case "make":
      return `make a host key for the initrd's SSH server: ${step.file}`;
  }
}

/**
 * Carries one step out.
 * @returns the key's fingerprint
 * @throws LatchkeyError remote/no-host-key
 */
export async function runHostKeyStep(machine: Machine, step: HostKeyStep): Promise<string> {
  const { files } = machine;
  if (step.do !== "keep") {
    files.makeFolder(SSH_FOLDER);
    const command = step.do === "convert" ? conversion(machine, step) : generation(machine, step);
    const outcome = await machine.run(command);
    if (outcome.status !== 0) {
      const said = outcome.stderr.trim().split("\n").at(-1) || `status ${outcome.status}`;
      throw new LatchkeyError("remote/no-host-key", `${command[0]} could not write ${step.file}: ${said}`);
    }
  }
  const bytes = files.readBytes(step.file);
  const key = bytes && publicKeyOf(bytes);
  bytes?.fill(0);
  if (key) return fingerprint(key);
  throw new LatchkeyError("remote/no-host-key", `${step.file} is not a host key`, {
    hint: "move it away and run this again: a new one is made, and clients will have to be told",
  });
}

function conversion({ files }: Machine, { from, file }: Extract<HostKeyStep, { do: "convert" }>): readonly string[] {
  const [source, target] = from === HOST_KEYS.openssh ? ["openssh", "dropbear"] : ["dropbear", "openssh"];
  return [PROGRAMS.dropbearconvert, source, target, files.outside(from), files.outside(file)];
}

function generation({ files }: Machine, { file, server }: Extract<HostKeyStep, { do: "make" }>): readonly string[] {
  const path = files.outside(file);
  return server === "openssh"
    ? [PROGRAMS.sshKeygen, "-q", "-t", TYPE, "-N", "", "-C", "initrd (latchkey)", "-f", path]
    : [PROGRAMS.dropbearkey, "-t", TYPE, "-f", path];
}
