import { closeSync, openSync } from "node:fs";
import { endOnStrayErrors, printError, printNote, printRow, printWarning, say } from "../../../src/commands/run.ts";

/** Run by a test: works until nobody reads its output any more, and says in the end whether it came to tidy up. */
const [ready, tidied] = process.argv.slice(2);
if (!ready || !tidied) throw new Error("two files, please");
const touch = (path: string): void => closeSync(openSync(path, "w"));

async function work(): Promise<void> {
  try {
    touch(ready ?? "");
    await new Promise((resolve) => process.stdin.once("end", resolve).resume());
    for (let turn = 0; turn < 3; turn++) {
      say(process.stdout, "found");
      printRow("a row");
      printNote("a note");
      printWarning("a warning");
      printError(new Error("something"));
      await Bun.sleep(20); // errors of streams come later
    }
  } finally {
    touch(tidied ?? "");
  }
}

endOnStrayErrors();
void work().then(() => process.exit(5));
