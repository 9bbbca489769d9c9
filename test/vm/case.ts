import { test } from "bun:test";
import { basename } from "node:path";
import { seconds } from "./patience.ts";

/** For bun's own clock, which also counts the time a case waits for its turn; what a case does has limits of its own. */
const WITH_WAITING = seconds(3600);

/**
 * A test that boots machines. All cases of a file start at once and wait for a slot (schedule.ts), so a case may depend on no other.
 * `body` gets the name for its machine, and so for the transcript.
 */
export function vmCase(name: string, body: (machineName: string) => Promise<void>): void {
  const file = basename(Bun.main, ".vm.ts");
  const slug = name.toLowerCase().replace(/[^a-z0-9]+/g, "-");
  test.concurrent(name, () => body(`${file}-${slug}`.slice(0, 100)), WITH_WAITING);
}
