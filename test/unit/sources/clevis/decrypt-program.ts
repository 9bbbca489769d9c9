import { Command } from "commander";
import { registerDecrypt } from "../../../../src/commands/decrypt.ts";

/** `latchkey decrypt` alone, for the tests of what it prints and how it ends. */
const program = new Command("latchkey");
registerDecrypt(program);
await program.parseAsync();
