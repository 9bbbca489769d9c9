/** nix/package.nix copies a part of this folder: all that the program is built from has to be in it. */
import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { Glob } from "bun";

const root = join(import.meta.dir, "../..");
const listed = [...readFileSync(join(root, "nix/package.nix"), "utf8").matchAll(/^ {6}\.\.\/(.+)$/gm)].map(
  ([, path = ""]) => path,
);

/** Files outside of src that its modules carry along. */
function carried(): readonly string[] {
  return [...new Glob("src/**/*.ts").scanSync(root)].flatMap((file) => {
    const text = readFileSync(join(root, file), "utf8");
    const targets = [...text.matchAll(/(?:from |import\()"(\.[^"]+)"/g)].map(([, target = ""]) => target);
    return targets.map((target) => relative(root, join(root, dirname(file), target)));
  });
}

test("what it lists is there", () => {
  expect(listed.length).toBeGreaterThan(5);
  expect(listed.filter((path) => !existsSync(join(root, path)))).toEqual([]);
});

test("what modules import from outside of src is listed", () => {
  const outside = carried().filter((path) => !path.startsWith("src/"));
  expect(outside.length).toBeGreaterThan(10);
  expect(outside.filter((path) => !listed.some((one) => path === one || path.startsWith(`${one}/`)))).toEqual([]);
});

test("what the build script reads is listed", () => {
  const script = readFileSync(join(root, "scripts/build.ts"), "utf8");
  const folders = [...script.matchAll(/"([\w-]+)\/\*\*\/\*"/g)].map(([, folder = ""]) => folder);
  const files = [...script.matchAll(/"([\w.-]+\.json)"/g)].map(([, file = ""]) => file);
  expect(folders.length).toBeGreaterThan(1);
  expect([...folders, ...files, "scripts/build.ts"].filter((path) => !listed.includes(path))).toEqual([]);
});
