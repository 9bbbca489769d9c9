import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { inspect } from "node:util";
import { MAX_SECRET_BYTES, SecretBytes } from "../../../src/system/secret-bytes.ts";

const secretOf = (text: string) => SecretBytes.take(new TextEncoder().encode(text));

describe("a secret", () => {
  test("is wiped at the end of its scope, and where it was taken from at once", () => {
    const source = new TextEncoder().encode("correct horse");
    let view: Uint8Array;
    {
      using secret = SecretBytes.take(source);
      view = secret.bytes;
      expect(view.some((byte) => byte !== 0)).toBe(true);
    }
    expect(view.every((byte) => byte === 0)).toBe(true);
    expect(source.every((byte) => byte === 0)).toBe(true);
  });

  test("cannot be used after its scope", () => {
    const secret = secretOf("x");
    secret[Symbol.dispose]();
    secret[Symbol.dispose]();
    expect(secret.isDisposed).toBe(true);
    expect(() => secret.bytes).toThrow("after the end of its scope");
  });

  test("prints as a placeholder and refuses to become a string or JSON", () => {
    using secret = secretOf("hunter2");
    expect(inspect({ secret })).toBe("{ secret: [secret] }");
    expect(Bun.inspect(secret)).not.toContain("hunter2");
    expect(secret.toString()).toBe("[secret]");
    expect(() => `${secret}`).toThrow("string or number");
    expect(() => `${secret as unknown as string}`.concat("")).toThrow();
    expect(() => JSON.stringify({ secret })).toThrow("about to become JSON");
  });

  test("compares by content and length", () => {
    using one = secretOf("abc");
    using same = secretOf("abc");
    using other = secretOf("abd");
    using longer = secretOf("abcd");
    expect([one.equals(same), one.equals(other), one.equals(longer)]).toEqual([true, false, false]);
  });

  test("shortens in place and wipes the rest", () => {
    using secret = secretOf("passphrase\n");
    const all = secret.bytes;
    expect(secret.truncate(10).length).toBe(10);
    expect(all[10]).toBe(0);
  });

  test("reuses pages only after they were wiped", () => {
    const first = secretOf("first secret");
    first[Symbol.dispose]();
    using second = SecretBytes.allocate(4096);
    expect(second.bytes.every((byte) => byte === 0)).toBe(true);
  });

  test("has a limit", () => {
    expect(() => SecretBytes.allocate(MAX_SECRET_BYTES + 1)).toThrow("over the limit");
    expect(() => SecretBytes.allocate(-1)).toThrow("over the limit");
  });

  test("lives in locked pages that core dumps and children do not get", () => {
    using secret = secretOf("locked");
    const address = secret.address;
    const smaps = readFileSync("/proc/self/smaps", "utf8").split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
    const mapping = smaps.find((text) => {
      const [start = "", end = ""] = (text.split(" ", 1)[0] ?? "").split("-");
      return Number.parseInt(start, 16) <= address && address < Number.parseInt(end, 16);
    });
    expect(mapping).toMatch(/VmFlags:.* dd/); // MADV_DONTDUMP
    expect(mapping).toMatch(/VmFlags:.* dc/); // MADV_DONTFORK
  });
});
