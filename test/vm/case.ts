import { test } from "bun:test";
import { basename } from "node:path";
import { sawEmulatorFault } from "./emulator-fault.ts";
import { seconds } from "./patience.ts";

/** For bun's own clock, which also counts the time a case waits for its turn; what a case does has limits of its own. */
const WITH_WAITING = seconds(3600);

/** One boot in some hundred meets the emulator's fault; three in a row would be a fault of ours. */
const MOST_BOOTS = 3;

/**
 * A test that boots machines. All cases of a file start at once and wait for a slot (schedule.ts), so a case may depend on no other.
 * `body` gets the name for its machine, and so for the transcript; it runs again when its machine met a fault of the emulator.
 */
export function vmCase(name: string, body: (machineName: string) => Promise<void>): void {
  const file = basename(Bun.main, ".vm.ts");
  const slug = name.toLowerCase().replace(/[^a-z0-9]+/g, "-");
  const machineName = `${file}-${slug}`.slice(0, 100);
  test.concurrent(name, () => withoutEmulatorFaults(machineName, body), WITH_WAITING);
}

async function withoutEmulatorFaults(name: string, body: (machineName: string) => Promise<void>): Promise<void> {
  for (let boot = 1; ; boot += 1) {
    try {
      await body(name);
      return;
    } catch (thrown) {
      if (boot >= MOST_BOOTS || !sawEmulatorFault(name)) throw thrown;
      process.stderr.write(`vm: ${name}: the emulator ran a stale instruction (Oops: int3); started again\n`);
    }
  }
}
