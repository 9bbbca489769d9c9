import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { isManaged } from "../../../src/stacks/carried-file.ts";
import { dracutFiles } from "../../../src/stacks/dracut-files.ts";

const folder = join(import.meta.dir, "../../../initrd-hooks/dracut");

describe("the files carried for dracut", () => {
  test("are all that are in initrd-hooks/dracut", () => {
    expect(dracutFiles.map(({ path }) => basename(path)).sort()).toEqual(readdirSync(folder).sort());
  });

  test.each(dracutFiles.map((file) => [basename(file.path), file] as const))("%s is carried as it is", (name, file) => {
    expect(file.text).toBe(readFileSync(join(folder, name), "utf8"));
    expect(isManaged(file.text)).toBe(true);
    expect(file.mode).toBe(name.endsWith(".sh") ? 0o755 : 0o644);
    expect(statSync(join(folder, name)).mode & 0o111).toBe(name.endsWith(".sh") ? 0o111 : 0);
  });
});
