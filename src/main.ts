import { versionLine } from "./version.ts";

const words = process.argv.slice(2);

/** Nothing else is loaded for it: image audits ask, and hooks, again and again. */
function isVersionQuestion(): boolean {
  return words.length === 1 && words[0] === "--version";
}

async function main(): Promise<void> {
  const { runCommandLine } = await import("./commands/run-command-line.ts");
  await runCommandLine(words);
}

if (isVersionQuestion()) {
  process.stdout.write(`${versionLine}\n`);
} else {
  // Not awaited at top level: while Bun 1.4 waits there, an error thrown in a timer neither ends it nor is seen.
  void main();
}
