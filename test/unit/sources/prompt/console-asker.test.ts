import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import * as fc from "fast-check";
import { LONGEST_ANSWER } from "../../../../src/system/ask-password/asker.ts";
import { ConsoleAsker } from "../../../../src/system/ask-password/console-asker.ts";
import { INTERRUPT, judgeLine, LINE_BUFFER } from "../../../../src/system/terminal.ts";
import { reveal } from "./agent.ts";
import { Pty } from "./pty.ts";

const question = { text: "Passphrase for root", id: "latchkey:root" };
const never = new AbortController().signal;

describe("our own question on a terminal", () => {
  test.each([
    ["Enter as a line feed", "correct horse\n", "correct horse"],
    ["Enter as a carriage return, as early-boot consoles send it", "correct horse\r", "correct horse"],
    ["backspace", "wronk\x7fg\r", "wrong"],
    ["backspace over a character of several bytes", "pässwö\x7f\x7fword\r", "pässword"],
    ["ctrl-U, to begin again", "oops\x15right\r", "right"],
    ["spaces at both ends, which belong to it", "  a b  \r", "  a b  "],
    ["nothing", "\r", ""],
    ["ctrl-C", "half\x03", "cancelled"],
    ["ctrl-D on an empty line", "\x04", "cancelled"],
    ["ctrl-D after text, which sends it", "text\x04", "text"],
    ["ctrl-Z and ctrl-\\, which are characters here", "a\x1ab\x1cc\r", "a\x1ab\x1cc"],
  ])("takes %s", async (_, keys, expected) => {
    using pty = new Pty();
    using asker = new ConsoleAsker("console", pty.path);
    const answer = asker.ask(question, never);
    await pty.shows("Passphrase for root: ");
    pty.type(keys);
    expect(reveal(await answer)).toBe(expected);
    expect(pty.seen()).toBe("Passphrase for root: \r\r\n");
  });

  test.each([
    [LONGEST_ANSWER, "is taken whole"],
    [LONGEST_ANSWER + 1, "is too long"],
    [6000, "is too long"],
  ])("a line of %d characters %s", async (length) => {
    using pty = new Pty();
    using asker = new ConsoleAsker("console", pty.path);
    const answer = asker.ask(question, never);
    await pty.shows("Passphrase for root: ");
    pty.type(`${"x".repeat(length)}\r`);
    expect(reveal(await answer)).toBe(length <= LONGEST_ANSWER ? "x".repeat(length) : "too-long");
  });

  test("shows nothing of what is typed, also between two questions, and leaves the terminal as it was", async () => {
    using pty = new Pty();
    const before = pty.settings();
    {
      using asker = new ConsoleAsker("console", pty.path);
      for (const times of [1, 2]) {
        const answer = asker.ask(question, never);
        await pty.shows("root: ", times);
        pty.type("secret one\r");
        expect(reveal(await answer)).toBe("secret one");
        pty.type("secret two\rsecret three"); // while the answer is being checked
        await Bun.sleep(20);
      }
      expect(pty.settings()).not.toBe(before);
    }
    expect(pty.settings()).toBe(before);
    expect(pty.seen()).not.toContain("secret");
    expect(pty.leftToRead()).toBe("");
  });

  test("throws away what was typed before it was asked", async () => {
    using pty = new Pty();
    pty.type("typed too early\r");
    using asker = new ConsoleAsker("console", pty.path);
    const answer = asker.ask(question, never);
    await pty.shows("root: ");
    pty.type("in time\r");
    expect(reveal(await answer)).toBe("in time");
  });

  test("keeps half a line when the question is replaced", async () => {
    using pty = new Pty();
    using asker = new ConsoleAsker("console", pty.path);
    const replaced = new AbortController();
    const first = asker.ask(question, replaced.signal);
    await pty.shows("root: ");
    pty.type("correct ");
    replaced.abort();
    expect(await first).toBeUndefined();
    const second = asker.ask({ text: "Passphrase for root and data", id: "" }, never);
    await pty.shows("data: ");
    pty.type("horse\r");
    expect(reveal(await second)).toBe("correct horse");
    expect(pty.seen()).toBe("Passphrase for root: \r\r\nPassphrase for root and data: \r\r\n");
  });

  test("wipes half a line when it is withdrawn, so that nobody reads it after us", async () => {
    using pty = new Pty();
    const before = pty.settings();
    const abort = new AbortController();
    {
      using asker = new ConsoleAsker("console", pty.path);
      const answer = asker.ask(question, abort.signal);
      await pty.shows("root: ");
      pty.type("half a passphr");
      await Bun.sleep(30);
      abort.abort();
      expect(await answer).toBeUndefined();
    }
    expect(pty.settings()).toBe(before);
    expect(pty.seen()).toBe("Passphrase for root: \r\r\n(no longer needed)\r\r\n");
    pty.type("\r");
    expect(pty.leftToRead()).toBe("\n");
  });

  test("hands on exactly the bytes that were typed", async () => {
    using pty = new Pty();
    using asker = new ConsoleAsker("console", pty.path);
    const editing = [0x00, INTERRUPT, 0x04, 0x08, 0x0a, 0x0d, 0x0f, 0x11, 0x12, 0x13, 0x15, 0x16, 0x17, 0x7f];
    const typed = fc.uint8Array({ min: 1, max: 255, maxLength: 400 }).map((b) => b.filter((x) => !editing.includes(x)));
    let times = 0;
    await fc.assert(
      fc.asyncProperty(typed, async (passphrase) => {
        const answer = asker.ask(question, never);
        times += 1;
        await pty.shows("root: ", times);
        pty.type(passphrase);
        pty.type("\r");
        const got = await answer;
        if (got?.kind !== "secret") throw new Error(`not a secret but ${got?.kind}`);
        using secret = got.secret;
        expect(Buffer.compare(secret.bytes, passphrase)).toBe(0);
      }),
      { numRuns: 40 },
    );
  }, 30_000);

  test("says so when the terminal goes away", async () => {
    using pty = new Pty();
    using asker = new ConsoleAsker("console", pty.path);
    const answer = asker.ask(question, never);
    await pty.shows("root: ");
    pty.hangUp();
    await expect(answer).rejects.toThrow("went away while a passphrase was asked for on it");
  });

  test.each([
    ["/dev/null", "is not a terminal"],
    ["/nowhere/console", "cannot open /nowhere/console"],
  ])("says what is wrong with %s", async (path, words) => {
    using asker = new ConsoleAsker("console", path);
    await expect(asker.ask(question, never)).rejects.toThrow(words);
  });
});

describe("a program that asks", () => {
  const program = join(import.meta.dir, "asking-program.ts");
  const start = (...argv: string[]) =>
    Bun.spawn([process.execPath, program, ...argv], { stdout: "inherit", stderr: "inherit" });

  test("ends by itself as soon as its question is withdrawn", async () => {
    using pty = new Pty();
    const before = pty.settings();
    const child = start(pty.path, "withdraw");
    await pty.shows("Passphrase for a program: ");
    expect(await child.exited).toBe(0);
    expect(pty.settings()).toBe(before);
  });

  test.each(["SIGTERM", "SIGHUP", "SIGINT"] as const)(
    "leaves the terminal as it was when %s ends it",
    async (signal) => {
      using pty = new Pty();
      const before = pty.settings();
      const child = start(pty.path, "wait");
      await pty.shows("Passphrase for a program: ");
      pty.type("half a passphr");
      expect(pty.settings()).not.toBe(before);
      child.kill(signal);
      await child.exited;
      expect(child.signalCode).toBe(signal);
      expect(pty.settings()).toBe(before);
      expect(pty.leftToRead()).toBe("");
    },
  );

  test.each(["exit", "throw"])("leaves the terminal as it was when it ends by %s", async (how) => {
    using pty = new Pty();
    const before = pty.settings();
    const child = Bun.spawn([process.execPath, program, pty.path, how], { stdout: "ignore", stderr: "ignore" });
    await pty.shows("Passphrase for a program: ");
    expect(await child.exited).not.toBe(0);
    expect(pty.settings()).toBe(before);
  });
});

describe("a line read from a terminal", () => {
  const line = (text: string) => judgeLine(new TextEncoder().encode(text));
  test.each([
    ["ab\n", { kind: "line", length: 2 }],
    ["ab", { kind: "line", length: 2 }],
    ["\n", { kind: "line", length: 0 }],
    ["", { kind: "end-of-input" }],
    ["\x03", { kind: "interrupt" }],
    ["a\x03\n", { kind: "line", length: 2 }],
  ] as const)("%j", (text, expected) => {
    expect(line(text)).toEqual(expected);
  });

  test("that fills the kernel's buffer may have been cut, so it is none", () => {
    expect(line(`${"x".repeat(LINE_BUFFER - 2)}\n`)).toEqual({ kind: "line", length: LINE_BUFFER - 2 });
    expect(line(`${"x".repeat(LINE_BUFFER - 1)}\n`)).toEqual({ kind: "too-long" });
  });
});
