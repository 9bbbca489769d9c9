import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { WorkerKeyDeriver } from "../../../../src/providers/bcachefs/derive.ts";
import { Credential } from "../../../../src/system/credential.ts";
import { failureOf, fixtureCase, secretOf } from "./fixtures.ts";

// Real derivations and a build, on machines that may be busy.
setDefaultTimeout(120_000);

const small = { log2N: 4, log2R: 1, log2P: 0 };
const real = { log2N: 14, log2R: 3, log2P: 4 };
const { passphrase = "", passphrase_key_hex = "" } = fixtureCase("default");

describe("deriving in a worker thread", () => {
  test("gives the key, and the event loop turns meanwhile", async () => {
    const fallbacks: string[] = [];
    using deriver = new WorkerKeyDeriver({ onFallback: (reason) => fallbacks.push(reason) });
    deriver.prepare();
    let turns = 0;
    const turning = setInterval(() => {
      turns += 1;
    }, 5);
    using secret = secretOf(passphrase);
    using key = await deriver.derive(secret, real);
    clearInterval(turning);
    expect(key.bytes.toHex()).toBe(passphrase_key_hex);
    expect(turns).toBeGreaterThan(5);
    expect(fallbacks).toEqual([]);
  });

  test("several at once come out right, each for its own passphrase and parameters", async () => {
    using deriver = new WorkerKeyDeriver();
    using direct = new WorkerKeyDeriver({ module: "/nowhere.js" });
    for (const parameters of [small, { ...small, log2P: 1 }]) {
      const words = ["a", "b", "", "a"];
      const keys = await Promise.all(
        words.map(async (word) => {
          using secret = secretOf(word);
          using key = await deriver.derive(secret, parameters);
          using again = await direct.derive(secret, parameters);
          expect(key.equals(again)).toBe(true);
          return key.bytes.toHex();
        }),
      );
      expect(new Set(keys).size).toBe(3);
    }
  });

  test("the passphrase may be wiped as soon as derive() was called", async () => {
    using deriver = new WorkerKeyDeriver();
    const secret = secretOf("ends at once");
    const coming = deriver.derive(secret, small);
    secret[Symbol.dispose]();
    using key = await coming;
    using same = secretOf("ends at once");
    using expected = await deriver.derive(same, small);
    expect(key.equals(expected)).toBe(true);
  });

  test("without a worker the main thread derives and says why", async () => {
    const fallbacks: string[] = [];
    using deriver = new WorkerKeyDeriver({
      module: "/nowhere/worker.js",
      onFallback: (reason) => fallbacks.push(reason),
    });
    using secret = secretOf(passphrase);
    using key = await deriver.derive(secret, real);
    expect(key.bytes.toHex()).toBe(passphrase_key_hex);
    expect(fallbacks).toEqual([expect.stringContaining("/nowhere/worker.js")]);
  });

  test("what scrypt refuses is our error, and the next derivation works", async () => {
    using deriver = new WorkerKeyDeriver();
    using secret = secretOf("x");
    const failure = await failureOf(deriver.derive(secret, { log2N: 0, log2R: 0, log2P: 0 }));
    expect(failure.code).toBe("bcachefs/derivation-failed");
    using key = await deriver.derive(secret, small);
    expect(key.length).toBe(32);
  });

  test("a credential derives once for all volumes with the same parameters", async () => {
    using deriver = new WorkerKeyDeriver();
    using credential = new Credential(secretOf("shared"));
    let derivations = 0;
    const ask = () =>
      credential.derived("scrypt:4:1:0", (secret) => {
        derivations += 1;
        return deriver.derive(secret, small);
      });
    const [first, second] = await Promise.all([ask(), ask()]);
    expect(first).toBe(second);
    expect(derivations).toBe(1);
  });
});

describe("as a program of its own", () => {
  const subject = join(import.meta.dir, "derive-subject.ts");
  const folder = mkdtempSync(join(tmpdir(), "latchkey-derive-"));
  const binary = join(folder, "subject");

  beforeAll(() => {
    const build = Bun.spawnSync(
      [
        process.execPath,
        "build",
        "--compile",
        "--root",
        "src",
        subject,
        "src/providers/bcachefs/derive-worker.ts",
        "--outfile",
        binary,
      ],
      { cwd: join(import.meta.dir, "../../../..") },
    );
    expect(build.exitCode).toBe(0);
  });

  afterAll(() => rmSync(folder, { recursive: true }));

  test.each([
    ["run from source", () => [process.execPath, subject, "tell"]],
    ["compiled to a binary", () => [binary, "tell"]],
  ] as const)("%s: the worker is found, and the process ends by itself", (_, command) => {
    const started = performance.now();
    const { stdout, exitCode } = Bun.spawnSync(command(), { stdin: Buffer.from(passphrase), cwd: "/" });
    const [key, result] = stdout.toString().trim().split("\n");
    expect(exitCode).toBe(0);
    expect(JSON.parse(key ?? "")).toEqual({ key: passphrase_key_hex });
    expect(JSON.parse(result ?? "").fallbacks).toEqual([]);
    expect(performance.now() - started).toBeLessThan(20_000);
  });
});
