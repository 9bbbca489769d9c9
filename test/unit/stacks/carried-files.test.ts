import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { bootedFiles } from "../../../src/stacks/booted-files.ts";
import { type CarriedFile, isManaged } from "../../../src/stacks/carried-file.ts";
import { dracutFiles } from "../../../src/stacks/dracut/files.ts";
import { initramfsToolsFiles } from "../../../src/stacks/initramfs-tools/files.ts";

const hooks = join(import.meta.dir, "../../../initrd-hooks");

const cases: [string, readonly CarriedFile[]][] = [
  ["dracut", dracutFiles],
  ["initramfs-tools", initramfsToolsFiles],
];

describe.each(cases)("the files carried for %s", (stack, carried) => {
  const folder = join(hooks, stack);
  const texts = new Map(readdirSync(folder).map((name) => [readFileSync(join(folder, name), "utf8"), name]));

  test("are all that are in the folder, each as it is, and each once", () => {
    expect(carried.map(({ text }) => texts.get(text) ?? text).sort()).toEqual([...texts.values()].sort());
    expect(new Set(carried.map(({ path }) => path)).size).toBe(carried.length);
  });

  test.each(carried.map((file) => [file.path, file] as const))("%s is marked as ours, with its mode", (_, file) => {
    const name = texts.get(file.text) ?? "";
    expect(isManaged(file.text)).toBe(true);
    expect(file.mode).toBe(name.endsWith(".sh") ? 0o755 : 0o644);
    expect(statSync(join(folder, name)).mode & 0o111).toBe(name.endsWith(".sh") ? 0o111 : 0);
  });
});

test.each(bootedFiles.map((file) => [file.path, file] as const))(
  "%s of the booted system is marked as ours",
  (_, file) => {
    expect(isManaged(file.text)).toBe(true);
  },
);
