import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { lockFile } from "../../../src/system/file-lock.ts";
import { HandClock } from "../unlock/fakes.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "latchkey-lock-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe("a lock", () => {
  test("is had by one at a time; the next one waits, says so once, and has it then", async () => {
    const clock = new HandClock();
    const { signal } = new AbortController();
    const path = join(folder, "pool");
    const first = await lockFile(path, clock, signal);
    expect(first).toBeDefined();
    let told = 0;
    let second: Disposable | undefined;
    const waiting = lockFile(path, clock, signal, () => {
      told += 1;
    }).then((lock) => {
      second = lock;
    });
    await clock.advance(5_000);
    expect([second, told]).toEqual([undefined, 1]);
    first?.[Symbol.dispose]();
    await clock.advance(1_000);
    await waiting;
    expect(second).toBeDefined();
    second?.[Symbol.dispose]();
  });

  test("ends with the process that has it", async () => {
    const path = join(folder, "pool");
    const script = `import { lockFile } from ${JSON.stringify(join(import.meta.dir, "../../../src/system/file-lock.ts"))};
      import { monotonicClock } from ${JSON.stringify(join(import.meta.dir, "../../../src/system/clock.ts"))};
      globalThis.lock = await lockFile(${JSON.stringify(path)}, monotonicClock, new AbortController().signal);
      console.log("locked");
      setInterval(() => undefined, 1000);`;
    const child = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe" });
    const reader = child.stdout.getReader();
    expect(new TextDecoder().decode((await reader.read()).value)).toContain("locked");
    const clock = new HandClock();
    const waits = new AbortController();
    let isTold = false;
    const inVain = lockFile(path, clock, waits.signal, () => {
      isTold = true;
    });
    await clock.advance(1_000);
    waits.abort();
    expect([await inVain, isTold]).toEqual([undefined, true]);
    child.kill("SIGKILL");
    await child.exited;
    const lock = await lockFile(path, clock, new AbortController().signal);
    expect(lock).toBeDefined();
    lock?.[Symbol.dispose]();
  });

  test("that cannot be made keeps nobody waiting, and no link is followed to it", async () => {
    const { signal } = new AbortController();
    symlinkSync("/dev/null", join(folder, "link"));
    expect(await lockFile(join(folder, "link"), new HandClock(), signal)).toBeUndefined();
    expect(await lockFile(join(folder, "no/such/folder"), new HandClock(), signal)).toBeUndefined();
  });
});
