import { afterEach, beforeEach, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { LatchkeyError } from "../../../src/system/errors.ts";
import { SecretBytes } from "../../../src/system/secret-bytes.ts";
import { WritableFolder } from "../../../src/system/writable-folder.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "latchkey-folder-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const secret = (text: string): SecretBytes => SecretBytes.take(new TextEncoder().encode(text));

function why(work: () => void): string {
  try {
    work();
  } catch (thrown) {
    return (thrown as LatchkeyError).message;
  }
  return "no error";
}

test("a new file is there for its owner alone, and never in the place of another", () => {
  using stick = WritableFolder.at(folder);
  using key = secret("key");
  mkdirSync(join(folder, "keys"));
  stick.create("keys/root.key", key);
  expect(readFileSync(join(folder, "keys/root.key"), "utf8")).toBe("key");
  expect(statSync(join(folder, "keys/root.key")).mode & 0o777).toBe(0o400);
  expect(stick.has("keys/root.key")).toBe(true);
  expect(stick.has("keys/other.key")).toBe(false);
  expect(stick.list()).toEqual(["keys"]);
  expect(why(() => stick.create("keys/root.key", key))).toBe(
    "cannot write keys/root.key to the stick: something of this name is there already",
  );
  expect(why(() => stick.create("nowhere/root.key", key))).toContain("there is no such folder");
});

test("no way leads out, and none through a link", () => {
  using stick = WritableFolder.at(folder);
  using key = secret("key");
  const outside = mkdtempSync(join(tmpdir(), "latchkey-outside-"));
  symlinkSync(outside, join(folder, "link"));
  symlinkSync("/nonexistent", join(folder, "dangling"));
  expect(why(() => stick.create("link/root.key", key))).toContain("a symbolic link is on the way");
  expect(why(() => stick.create("../root.key", key))).toContain("EXDEV");
  expect(stick.has("dangling")).toBe(true); // something is there, and it is to stay
  writeFileSync(join(outside, "root.key"), "not ours");
  expect(why(() => stick.remove("link/root.key"))).toContain("a symbolic link is on the way");
  expect(readFileSync(join(outside, "root.key"), "utf8")).toBe("not ours");
  rmSync(outside, { recursive: true });
});

test("what is removed is written over first", () => {
  using stick = WritableFolder.at(folder);
  writeFileSync(join(folder, "root.key"), "the old key");
  Bun.spawnSync(["ln", join(folder, "root.key"), join(folder, "second name")]);
  expect(stick.remove("root.key")).toBe(true);
  expect(existsSync(join(folder, "root.key"))).toBe(false);
  expect(readFileSync(join(folder, "second name"))).toEqual(Buffer.alloc(11));
  expect(stick.remove("root.key")).toBe(false);
  expect(stick.remove("no-folder/root.key")).toBe(false);
});
