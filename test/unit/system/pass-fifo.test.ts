import { describe, expect, test } from "bun:test";
import { closeSync, constants, mkdirSync, mkdtempSync, openSync, readSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { answerAskpass, findAskpass } from "../../../src/system/ask-password/pass-fifo.ts";
import { SecretBytes } from "../../../src/system/secret-bytes.ts";

const secretOf = (text: string): SecretBytes => SecretBytes.take(new TextEncoder().encode(text));

/** An image with askpass at work, as far as others see it. */
function image() {
  const folder = mkdtempSync("/tmp/latchkey-fifo-");
  const paths = { program: "/lib/cryptsetup/askpass", fifo: join(folder, "passfifo"), console: "/dev/console" };
  const proc = join(folder, "proc");
  const runs = (processId: number, ...words: readonly string[]): void => {
    mkdirSync(join(proc, `${processId}`), { recursive: true });
    writeFileSync(join(proc, `${processId}`, "cmdline"), `${words.join("\0")}\0`);
  };
  runs(1, "/sbin/init");
  return { folder, paths, proc, runs, [Symbol.dispose]: () => rmSync(folder, { recursive: true }) };
}

const makeFifo = (path: string): void => void Bun.spawnSync(["mkfifo", path]);

describe("Debian's askpass", () => {
  test("is found by its program and FIFO, with what it shows", () => {
    using there = image();
    there.runs(77, "/usr/lib/cryptsetup/askpass", "Please unlock disk root: ");
    expect(findAskpass(there.paths, there.proc)).toBeUndefined();
    makeFifo(there.paths.fifo);
    expect(findAskpass(there.paths, there.proc)).toEqual({ processId: 77, message: "Please unlock disk root" });
  });

  test("is not found where nobody asks", () => {
    using there = image();
    makeFifo(there.paths.fifo);
    expect(findAskpass(there.paths, there.proc)).toBeUndefined();
    expect(findAskpass(there.paths, join(there.folder, "none"))).toBeUndefined();
  });

  test("gets the answer without a line feed, and nobody waits where nobody reads", () => {
    using there = image();
    using secret = secretOf("typed");
    expect(answerAskpass(secret, there.paths)).toBe(false);
    makeFifo(there.paths.fifo);
    expect(answerAskpass(secret, there.paths)).toBe(false);
    const reader = openSync(there.paths.fifo, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      expect(answerAskpass(secret, there.paths)).toBe(true);
      const room = Buffer.alloc(64);
      expect(room.subarray(0, readSync(reader, room)).toString()).toBe("typed");
    } finally {
      closeSync(reader);
    }
  });
});
