import { loadPlan } from "../config/load.ts";
import type { Machine } from "../stacks/machine.ts";
import { describeHostKeyStep, planHostKeys, runHostKeyStep } from "../stacks/remote/host-key-files.ts";
import type { Stack } from "../stacks/remote/image.ts";

/**
 * Before an image is made: sees to it that the initrd's SSH server has its host key, and says which, so that its fingerprint can be
 * compared at the first login. Nothing to do where the source remote is not configured.
 * @throws LatchkeyError remote/no-server, remote/no-host-key
 */
export async function prepareRemote(
  machine: Machine,
  stack: Stack,
  isDryRun: boolean,
  print: (line: string) => void,
): Promise<void> {
  const { remote } = loadPlan({ mode: "boot" });
  if (!remote) return;
  for (const step of planHostKeys(machine, stack, remote)) {
    print(describeHostKeyStep(step));
    if (!isDryRun) print(`  fingerprint: ${await runHostKeyStep(machine, step)}`);
  }
}
