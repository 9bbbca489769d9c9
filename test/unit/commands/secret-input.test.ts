import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LatchkeyError } from "../../../src/system/errors.ts";
import { MAX_INPUT_BYTES, readSecret, withoutTrailingNewlines } from "../../../src/system/secret-input.ts";

const folder = mkdtempSync(join(tmpdir(), "latchkey-input-"));
afterAll(() => rmSync(folder, { recursive: true }));

function fileWith(content: string | Uint8Array): string {
  const path = join(folder, "secret");
  writeFileSync(path, content);
  return path;
}

function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (thrown) {
    if (thrown instanceof LatchkeyError) return thrown.code;
    throw thrown;
  }
  return "none";
}

describe("a secret from a file", () => {
  test.each([
    ["pw\n", "pw"],
    ["pw", "pw"],
    ["pw\r\n", "pw\r"],
    ["pw\n\n\n", "pw"],
    ["pw\nmore\n", "pw\nmore"],
    [" pw \t\n", " pw \t"],
    ["\n", ""],
    ["", ""],
  ])("%j is the passphrase %j", (content, expected) => {
    using secret = withoutTrailingNewlines(readSecret(fileWith(content)));
    expect(Buffer.from(secret.bytes).toString()).toBe(expected);
  });

  test("as a key file it is taken byte for byte", () => {
    const content = new Uint8Array([0, 255, 10, 13, 10]);
    using secret = readSecret(fileWith(content));
    expect([...secret.bytes]).toEqual([...content]);
  });

  test("may have so many bytes and no more", () => {
    using longest = readSecret(fileWith(new Uint8Array(MAX_INPUT_BYTES)));
    expect(longest.length).toBe(MAX_INPUT_BYTES);
    expect(codeOf(() => readSecret(fileWith(new Uint8Array(MAX_INPUT_BYTES + 1))))).toBe("secret/too-long");
    expect(codeOf(() => readSecret("/dev/zero"))).toBe("secret/too-long");
  });

  test.each(["/nowhere/secret", folder])("%s is none", (path) => {
    expect(codeOf(() => readSecret(path))).toBe("secret/unreadable");
  });

  test("comes through a pipe whose writer takes its time, as a shell's <(command) does", () => {
    const program = `const { readSecret } = await import(${JSON.stringify(join(import.meta.dir, "../../../src/system/secret-input.ts"))});
      using secret = readSecret(process.argv.at(-1));
      console.log(Buffer.from(secret.bytes).toString());`;
    const child = Bun.spawnSync([
      ...["bash", "-c", `exec "$0" --eval "$1" -- <(printf 'slow '; sleep 0.5; printf typist)`],
      ...[process.execPath, program],
    ]);
    expect({ out: child.stdout.toString(), error: child.stderr.toString() }).toEqual({
      out: "slow typist\n",
      error: "",
    });
  });
});
