import { AgentsAsker } from "../../../../src/system/ask-password/agents-asker.ts";
import type { Asker } from "../../../../src/system/ask-password/asker.ts";
import { AskpassAsker } from "../../../../src/system/ask-password/askpass-asker.ts";
import { ConsoleAsker } from "../../../../src/system/ask-password/console-asker.ts";

/** Run by a test: asks in the way given, wipes the answer, says how long it was and stays, so that its memory can be read. */
const [, , way, place = "", program = "", fifo = ""] = process.argv;

function open(): Asker {
  if (way === "agents") return new AgentsAsker(place);
  if (way === "askpass") return new AskpassAsker({ program, fifo, console: place });
  return new ConsoleAsker("console", place);
}

async function main(): Promise<void> {
  using asker = open();
  const answer = await asker.ask({ text: "Passphrase", id: "latchkey:test" }, new AbortController().signal);
  if (answer?.kind !== "secret") throw new Error("no secret");
  const { length } = answer.secret;
  answer.secret[Symbol.dispose]();
  process.stdout.write(`${length} bytes\n`);
  setTimeout(() => undefined, 60_000);
}

main().catch(() => process.exit(1));
