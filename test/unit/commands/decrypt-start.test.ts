import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";

const source = join(import.meta.dir, "../../../src");
const scanner = new Bun.Transpiler({ loader: "ts" });

/**
 * What a module loads before it runs, itself included: our files from src/ on, and other modules by name.
 * @param later also what it may load when it is come to
 */
function loadedWith(entry: string, later = false, seen = new Set<string>()): ReadonlySet<string> {
  if (seen.has(entry)) return seen;
  seen.add(entry);
  for (const { path, kind } of scanner.scanImports(readFileSync(join(source, entry), "utf8"))) {
    const isOurs = path.startsWith(".");
    if (kind !== "import-statement" && !(later && isOurs)) continue;
    if (isOurs) loadedWith(relative(source, join(source, dirname(entry), path)), later, seen);
    else seen.add(path);
  }
  return seen;
}

// Each of Bun's own modules that is written in JavaScript takes a good part of what all of Bun takes to start; so do libraries.
test.each([
  ["the start", "main.ts"],
  ["latchkey decrypt", "commands/decrypt-at-once.ts"],
  ["a token for the TPM", "sources/clevis/tpm2-open.ts"],
  ["the TPM", "tpm2/tpm.ts"],
  ["a token with shares", "sources/clevis/sss.ts"],
  ["a token for a Tang server, before it is asked", "sources/clevis/tang.ts"],
])("%s loads nothing that is slow to load", (_what, entry) => {
  const others = [...loadedWith(entry)].filter((name) => !name.endsWith(".ts"));
  expect(others.filter((name) => name !== "bun:ffi")).toEqual([]);
});

test("the whole of latchkey decrypt, which is one module of the program, loads nothing slow before it is come to", () => {
  const loaded = loadedWith("commands/decrypt-at-once.ts", true);
  expect(loaded).toContain("jose/ephemeral-key.ts");
  expect(loaded).toContain("tpm2/device-transport.ts");
  expect(loaded).toContain("commands/run.ts");
  expect([...loaded].filter((name) => !name.endsWith(".ts"))).toEqual(["bun:ffi"]);
});

test("the search sees what is slow", () => {
  const loaded = loadedWith("commands/run-command-line.ts");
  expect(loaded).toContain("commander");
  expect(loaded).toContain("system/descriptor.ts");
  expect(loadedWith("jose/jws.ts")).toContain("node:crypto");
});
