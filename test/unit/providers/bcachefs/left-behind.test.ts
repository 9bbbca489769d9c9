import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { randomBytes, scryptSync } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findInMemory, type Hit } from "./process-memory.ts";

// Derivations and scans of a whole process, on machines that may be busy.
setDefaultTimeout(120_000);

const subject = join(import.meta.dir, "derive-subject.ts");
const root = join(import.meta.dir, "../../../..");
const folder = mkdtempSync(join(tmpdir(), "latchkey-derive-"));
const binary = join(folder, "subject");

/** Long enough to fill an HMAC block only in part, and long enough to be hashed first (more than 64 bytes). */
const short = randomBytes(14).toHex();
const long = randomBytes(70).toHex();

/** The secret and its pieces as they would lie in memory: plain, UTF-16, and under the two pads of HMAC. */
function tracesOf(passphrase: string): Record<string, Uint8Array> {
  const bytes = Buffer.from(passphrase);
  const traces: Record<string, Uint8Array> = {
    "the passphrase as UTF-16": Buffer.from(passphrase, "utf16le").subarray(0, 24),
    "the derived key": scryptSync(bytes, Buffer.from("bcache\0"), 32, { N: 16384, r: 8, p: 16, maxmem: 1 << 26 }),
  };
  for (const [name, pad] of [
    ["plain", 0],
    ["under the inner pad", 0x36],
    ["under the outer pad", 0x5c],
  ] as const) {
    for (const offset of [0, Math.floor(bytes.length / 2), bytes.length - 10]) {
      traces[`10 bytes of the passphrase from ${offset}, ${name}`] = bytes
        .subarray(offset, offset + 10)
        .map((byte) => byte ^ pad);
    }
  }
  return traces;
}

async function leftBehind(command: readonly string[], passphrase: string): Promise<readonly Hit[]> {
  const child = Bun.spawn([...command], { stdin: "pipe", stdout: "pipe", stderr: "inherit", cwd: "/" });
  try {
    child.stdin.write(passphrase);
    await child.stdin.end();
    const reader = child.stdout.getReader();
    const told = new TextDecoder().decode((await reader.read()).value);
    expect(told).toContain("turns");
    return findInMemory(child.pid, tracesOf(passphrase));
  } finally {
    child.kill();
    await child.exited;
  }
}

/** Other users' processes and hardened kernels do not let us look; then there is nothing to test. */
const mayLook = await leftBehind([process.execPath, subject, "leak stay"], short).then(
  (hits) => hits.length > 0,
  () => false,
);

describe.skipIf(!mayLook)("what a derivation leaves in the memory of its process", () => {
  beforeAll(() => {
    // As scripts/build.ts builds latchkey: the worker is found in the binary.
    const build = Bun.spawnSync(
      [
        process.execPath,
        "build",
        "--compile",
        "--minify",
        "--root",
        "src",
        subject,
        "src/providers/bcachefs/derive-worker.ts",
        "--outfile",
        binary,
      ],
      { cwd: root },
    );
    expect(build.exitCode).toBe(0);
  });

  afterAll(() => rmSync(folder, { recursive: true }));

  test("the search finds a copy that is there", async () => {
    const hits = await leftBehind([process.execPath, subject, "leak stay"], long);
    expect(hits.map(({ what }) => what)).toContain("10 bytes of the passphrase from 0, plain");
  });

  const ways = [
    ["worker thread", () => [process.execPath, subject, "stay"]],
    ["main thread", () => [process.execPath, subject, "main-thread stay"]],
    ["worker thread of a compiled binary", () => [binary, "stay"]],
  ] as const;

  test.each(ways)("%s: nothing of the passphrase and nothing of the key", async (_, command) => {
    expect(await leftBehind(command(), short)).toEqual([]);
    expect(await leftBehind(command(), long)).toEqual([]);
  });
});
