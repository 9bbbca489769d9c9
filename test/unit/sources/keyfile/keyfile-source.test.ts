import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { KeyFileSource } from "../../../../src/sources/keyfile/keyfile-source.ts";
import type { LatchkeyError } from "../../../../src/system/errors.ts";
import { FakeHeart } from "../usb/fakes.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "latchkey-keyfile-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

async function run(content: string | undefined, format: "raw" | "hex" | "text") {
  const path = join(folder, "root.key");
  if (content !== undefined) writeFileSync(path, content);
  const heart = new FakeHeart();
  const source = new KeyFileSource({ file: { kind: "keyfile", path }, format, volumes: ["root", "data"] });
  const end = await source.run(heart).then(
    () => "ended",
    (thrown: LatchkeyError) => thrown.code,
  );
  return { offered: heart.offered, end };
}

test("offers the file's key once, to all its volumes", async () => {
  expect(await run("secret\n", "text")).toEqual({
    offered: [{ text: "secret", volumes: ["root", "data"] }],
    end: "ended",
  });
  expect((await run("secret\n", "raw")).offered[0]?.text).toBe("secret\n");
});

test("a file that is not there, or is not what it should be, is named", async () => {
  expect(await run(undefined, "raw")).toEqual({ offered: [], end: "key-file/missing" });
  expect(await run("no digits", "hex")).toEqual({ offered: [], end: "key-file/bad-format" });
  expect(await run("", "raw")).toEqual({ offered: [], end: "key-file/bad-format" });
});
