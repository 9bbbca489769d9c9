import { ConsoleAsker } from "../../../../src/system/ask-password/console-asker.ts";

/** Run by a test: asks on the terminal given and then ends in the manner given. */
const [, , path = "", how] = process.argv;

async function main(): Promise<void> {
  const abort = new AbortController();
  using asker = new ConsoleAsker("console", path);
  const answer = asker.ask({ text: "Passphrase for a program", id: "latchkey:program" }, abort.signal);
  if (how === "withdraw") setTimeout(() => abort.abort(), 300);
  if (how === "exit") setTimeout(() => process.exit(7), 300);
  if (how === "throw") {
    setTimeout(() => {
      throw new Error("nobody catches this");
    }, 300);
  }
  await answer;
}

// Not awaited: an error that nobody catches does not end Bun while the main module awaits (seen with 1.4.5).
main().catch(() => process.exit(1));
