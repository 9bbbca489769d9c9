/** `npm run docs`: writes the pages that are made from the code. CI checks that they are up to date. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { errorTable } from "../src/system/error-table.ts";
import { exitStatus } from "../src/system/errors.ts";

const meaning: Readonly<Record<keyof typeof exitStatus, string>> = {
  done: "everything is open, or there was nothing to do",
  failed: "something went wrong that trying again alone will not mend",
  "wrong-credential": "the passphrase or key is not the right one",
  unavailable: "a device, token, server or TPM was not there in time, or nobody answered",
  refused: "policy forbids it",
  usage: "the command line is wrong",
  configuration: "the configuration is wrong",
};

const page = `# Errors

<!-- made by \`npm run docs\` from src/system/error-table.ts -->

An error is one line on standard error, \`latchkey: error: CODE: what happened\`, followed by \`latchkey: hint: …\` where there
is advice. The code is stable: scripts may look for it. The exit status follows from the code. What to do when a disk did not open is in
[troubleshooting.md](troubleshooting.md).

| exit status | outcome | meaning |
| --- | --- | --- |
${Object.entries(exitStatus)
  .map(([outcome, status]) => `| ${status} | ${outcome} | ${meaning[outcome as keyof typeof exitStatus]} |`)
  .join("\n")}

| code | exit status | when |
| --- | --- | --- |
${Object.entries(errorTable)
  .sort(([a], [b]) => (a < b ? -1 : 1))
  .map(([code, { outcome, when }]) => `| \`${code}\` | ${exitStatus[outcome]} | ${when.replaceAll("|", "\\|")} |`)
  .join("\n")}
`;

const file = join(import.meta.dir, "../docs/errors.md");
if (process.argv.includes("--check")) {
  if (readFileSync(file, "utf8") !== page) throw new Error("docs/errors.md is out of date: run `npm run docs`");
} else {
  writeFileSync(file, page);
}
