import { describe, expect, test } from "bun:test";
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { inspectPlace, storeToken } from "../../../src/enroll/token-store.ts";
import { errorOf } from "../sources/clevis/make-tokens.ts";
import { Folder } from "./scene.ts";

describe("the place of a token", () => {
  test("is made with its folder, and a draft that a crash left there is no hindrance", () => {
    using folder = new Folder();
    const path = folder.file("etc/latchkey/root.jwe");
    expect(inspectPlace(path)).toBe(false);
    expect(storeToken(path, "one")).toBeUndefined();
    writeFileSync(`${path}.new`, "half");
    chmodSync(`${path}.new`, 0o666);
    expect(inspectPlace(path)).toBe(true);
    expect(storeToken(path, "two")).toBe(`${path}.old`);
    expect(storeToken(path, "three")).toBe(`${path}.old`);
    expect([path, `${path}.old`].map((file) => readFileSync(file, "latin1"))).toEqual(["three", "two"]);
    for (const file of [path, `${path}.old`]) expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(readdirSync(folder.file("etc/latchkey")).toSorted()).toEqual(["root.jwe", "root.jwe.old"]);
  });

  test("is refused before anything is asked when it is a folder or a link, or below a file", async () => {
    using folder = new Folder();
    mkdirSync(folder.file("folder.jwe"));
    symlinkSync("/nonexistent", folder.file("link.jwe"));
    writeFileSync(folder.file("file"), "");
    writeFileSync(folder.file("old.jwe"), "");
    mkdirSync(folder.file("old.jwe.old"));
    for (const name of ["folder.jwe", "link.jwe", "old.jwe", "file/root.jwe"]) {
      const error = await errorOf(() => inspectPlace(folder.file(name)));
      expect(error.code).toBe("enroll/cannot-write");
    }
  });

  test("that cannot be written says so, and leaves what was there", async () => {
    using folder = new Folder();
    const path = folder.file("root.jwe");
    storeToken(path, "one");
    mkdirSync(`${path}.new`);
    expect((await errorOf(() => storeToken(path, "two"))).code).toBe("enroll/cannot-write");
    expect(readFileSync(path, "latin1")).toBe("one");
  });
});
