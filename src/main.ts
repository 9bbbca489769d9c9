import { plainDecryptOptions } from "./commands/decrypt-options.ts";
import { versionLine } from "./version.ts";

const words = process.argv.slice(2);

/** Nothing else is loaded for it: image audits ask, and hooks, again and again. */
function isVersionQuestion(): boolean {
  return words.length === 1 && words[0] === "--version";
}

async function main(): Promise<void> {
  if (words[0] === "decrypt") {
    const options = plainDecryptOptions(words.slice(1));
    if (options) {
      const { decryptAtOnce } = await import("./commands/decrypt-at-once.ts");
      return await decryptAtOnce(options);
    }
  }
  const { runCommandLine } = await import("./commands/run-command-line.ts");
  await runCommandLine(words);
}

if (isVersionQuestion()) {
  // One short line: as a whole or not at all, and not through process.stdout, whose streams take Bun twice its own start.
  console.log(versionLine);
} else {
  // Not awaited at top level: while Bun 1.4 waits there, an error thrown in a timer neither ends it nor is seen.
  void main();
}
