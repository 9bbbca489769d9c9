import type { DecryptOptions } from "./decrypt-options.ts";
import { runDecrypt } from "./decrypt-run.ts";

/** `latchkey decrypt` with options that needed no command line library, from its start to the end of the process. */
export async function decryptAtOnce(options: DecryptOptions): Promise<never> {
  // An error in a timer or a callback ends the process like any other.
  process.on("uncaughtException", (thrown) => void endWith(thrown));
  process.on("unhandledRejection", (thrown) => void endWith(thrown));
  let status: number;
  try {
    status = await runDecrypt(options);
  } catch (thrown) {
    return await endWith(thrown);
  }
  process.exit(status);
}

/** Loads what prints errors when there is one. */
async function endWith(thrown: unknown): Promise<never> {
  const { printError } = await import("./run.ts");
  process.exit(printError(thrown));
}
