import { Command } from "commander";
import { registerDecrypt } from "../../../../src/commands/decrypt.ts";
import { decryptAtOnce } from "../../../../src/commands/decrypt-at-once.ts";
import { plainDecryptOptions } from "../../../../src/commands/decrypt-options.ts";

/**
 * `latchkey decrypt` alone, for the tests of what it prints and how it ends: without the command line's library where the program
 * does without, unless the first word says otherwise.
 */
const [first = "", ...words] = process.argv.slice(2);
const options = first === "decrypt" ? plainDecryptOptions(words) : undefined;
if (options) {
  await decryptAtOnce(options);
} else {
  const program = new Command("latchkey");
  registerDecrypt(program);
  await program.parseAsync(["decrypt", ...words], { from: "user" });
}
