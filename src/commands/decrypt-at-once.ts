import type { DecryptOptions } from "./decrypt-options.ts";
import { runDecrypt } from "./decrypt-run.ts";
import { endOnStrayErrors, printError } from "./run.ts";

/** `latchkey decrypt` with options that needed no command line library, from its start to the end of the process. */
export async function decryptAtOnce(options: DecryptOptions): Promise<never> {
  endOnStrayErrors();
  let status: number;
  try {
    status = await runDecrypt(options);
  } catch (thrown) {
    status = printError(thrown);
  }
  process.exit(status);
}
