import { loadPlan } from "../config/load.ts";
import type { Machine } from "../stacks/machine.ts";
import { describeHostKeyStep, planHostKeys, runHostKeyStep } from "../stacks/remote/host-key-files.ts";
import type { Stack } from "../stacks/remote/image.ts";
import { describeLoginKey, readSystemLoginKeys } from "../stacks/remote/login-keys.ts";
import { chooseServer, readServerFacts } from "../stacks/remote/server-choice.ts";

/**
 * Before an image is made: says who may log in to the initrd, sees to it that its SSH server has its host key, and says which, so that
 * its fingerprint can be compared at the first login. Nothing to do where the source remote is not configured.
 * @throws LatchkeyError remote/no-server, remote/no-authorized-keys, remote/no-host-key
 */
export async function prepareRemote(
  machine: Machine,
  stack: Stack,
  isDryRun: boolean,
  print: (line: string) => void,
): Promise<void> {
  const { remote } = loadPlan({ mode: "boot" });
  if (!remote) return;
  const choice = chooseServer(remote.server, readServerFacts(machine.files, stack));
  const { lines } = readSystemLoginKeys(machine.files, choice);
  for (const line of lines) print(`may log in to the initrd: ${describeLoginKey(line)}`);
  for (const step of planHostKeys(machine, stack, remote)) {
    print(describeHostKeyStep(step));
    if (!isDryRun) print(`  fingerprint: ${await runHostKeyStep(machine, step)}`);
  }
}
