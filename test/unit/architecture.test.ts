import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { Glob } from "bun";
import { errorTable } from "../../src/system/error-table.ts";

const root = join(import.meta.dir, "../..");
const sources = [...new Glob("src/**/*.ts").scanSync(root)].sort();

/** A room may import from itself and from the rooms in its list, and from nothing else: imports point downwards. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  "main.ts": ["commands", "version.ts"],
  "version.ts": [],
  commands: [
    "unlock",
    "stacks",
    "enroll",
    "rollback",
    "sources",
    "providers",
    "config",
    "keyutils-ffi",
    "system",
    "version.ts",
  ],
  unlock: ["sources", "providers", "config", "tpm2", "system"],
  stacks: ["config", "system", "version.ts"],
  enroll: ["providers", "sources", "tpm2", "jose", "config", "system"],
  rollback: ["config", "system"],
  sources: ["config", "tpm2", "jose", "keyutils-ffi", "system"],
  providers: ["config", "jose", "keyutils-ffi", "system"],
  config: ["system"],
  "keyutils-ffi": ["system"],
  tpm2: ["system"],
  jose: ["system"],
  system: [],
};

const room = (file: string): string => relative(join(root, "src"), join(root, file)).split("/")[0] ?? "";

describe("the house", () => {
  test.each(sources)("%s imports only from rooms below it", (file) => {
    const text = readFileSync(join(root, file), "utf8");
    const own = room(file);
    const allowed = new Set([own, ...(mayImport[own] ?? [])]);
    for (const [, target = ""] of text.matchAll(/(?:from |import\()"(\.[^"]+)"/g)) {
      const imported = relative(root, join(root, dirname(file), target));
      if (!imported.startsWith("src/")) continue; // hook files carried inside the binary
      expect(allowed).toContain(room(imported));
    }
  });

  test("every error code is used, and every page of errors has all codes", () => {
    const text = sources
      .filter((file) => !file.endsWith("error-table.ts"))
      .map((file) => readFileSync(join(root, file), "utf8"))
      .join("\n");
    const unused = Object.keys(errorTable).filter((code) => !text.includes(`"${code}"`));
    expect(unused).toEqual([]);
    const page = readFileSync(join(root, "docs/errors.md"), "utf8");
    const undocumented = Object.keys(errorTable).filter((code) => !page.includes(`\`${code}\``));
    expect(undocumented).toEqual([]);
  });

  test("no dependency is unpinned, and each has its line in docs/dependencies.md", () => {
    const { dependencies, devDependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as Record<
      "dependencies" | "devDependencies",
      Record<string, string>
    >;
    const page = readFileSync(join(root, "docs/dependencies.md"), "utf8");
    for (const [name, version] of Object.entries({ ...dependencies, ...devDependencies })) {
      expect(version).toMatch(/^\d+\.\d+\.\d+$/);
      expect(page).toContain(`\`${name}\``);
    }
  });
});
