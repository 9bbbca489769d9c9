import { describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { AgentsAsker } from "../../../src/system/ask-password/agents-asker.ts";
import {
  answerForeignQuestion,
  type ForeignFacts,
  isOpen,
  parseQuestion,
  processIsAlive,
  readForeignQuestions,
} from "../../../src/system/ask-password/foreign-questions.ts";
import { SecretBytes } from "../../../src/system/secret-bytes.ts";

/** As systemd-cryptsetup 257 writes it. */
const REAL = `[Ask]
PID=286
Socket=/run/systemd/ask-password/sck.7e2e2a1dd8f2f5d8
AcceptCached=1
Echo=0
NotAfter=0
Silent=0
Message=Please enter passphrase for disk QEMU_HARDDISK (luks-root):
Icon=drive-harddisk
Id=cryptsetup:/dev/disk/by-uuid/6c61
`;

const facts: ForeignFacts = { now: 1000, isAlive: () => true };

describe("a question of another program", () => {
  test("is read as systemd writes it", () => {
    expect(parseQuestion(REAL, "/run/ask.x")).toEqual({
      file: "/run/ask.x",
      message: "Please enter passphrase for disk QEMU_HARDDISK (luks-root)",
      id: "cryptsetup:/dev/disk/by-uuid/6c61",
      processId: 286,
      socket: "/run/systemd/ask-password/sck.7e2e2a1dd8f2f5d8",
      notAfter: 0,
    });
  });

  test.each([
    ["another section", REAL.replace("[Ask]", "[Tell]")],
    ["no section", REAL.replace("[Ask]\n", "")],
    ["no socket", REAL.replace(/Socket=.*\n/, "")],
    ["a socket without a path", REAL.replace(/Socket=.*/, "Socket=sck")],
    ["a socket that is too long for one", REAL.replace(/Socket=.*/, `Socket=/${"x".repeat(120)}`)],
    ["a process that is no number", REAL.replace("PID=286", "PID=-1")],
    ["no process", REAL.replace("PID=286\n", "")],
    ["an end that is no number", REAL.replace("NotAfter=0", "NotAfter=soon")],
  ])("with %s is none", (_, text) => {
    expect(parseQuestion(text, "/run/ask.x")).toBeUndefined();
  });

  test("cannot move the cursor, and may leave out what it does not say", () => {
    const question = parseQuestion("[Ask]\nSocket=/s\nPID=1\nMessage=a\u001b[2Jb :\n; a comment\nFuture=1\n", "/f");
    expect(question).toEqual({ file: "/f", message: "a [2Jb", id: "", processId: 1, socket: "/s", notAfter: 0 });
  });

  test("any text is a question or none", () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.constantFrom(...REAL.split("\n")), fc.string())), (lines) => {
        const question = parseQuestion(lines.join("\n"), "/f");
        if (question) expect(question.socket.startsWith("/")).toBe(true);
      }),
    );
  });

  test("is over when its time has passed or nobody waits for it", () => {
    const question = parseQuestion(REAL.replace("NotAfter=0", "NotAfter=1000001"), "/f");
    if (!question) throw new Error("no question");
    expect(isOpen(question, facts)).toBe(true);
    expect(isOpen(question, { ...facts, now: 1001 })).toBe(false);
    expect(isOpen(question, { ...facts, isAlive: () => false })).toBe(false);
    expect(processIsAlive(process.pid)).toBe(true);
    expect(processIsAlive(2 ** 22 + 1)).toBe(false);
  });

  test("of a folder: what is a plain file with the name of a question, and not too large", () => {
    const folder = mkdtempSync("/tmp/latchkey-ask-");
    try {
      writeFileSync(join(folder, "ask.b"), REAL);
      writeFileSync(join(folder, "ask.a"), REAL.replace("286", "287"));
      writeFileSync(join(folder, "ask.large"), REAL + "#".repeat(20_000));
      writeFileSync(join(folder, "tmp.c"), REAL);
      mkdirSync(join(folder, "ask.folder"));
      symlinkSync(join(folder, "tmp.c"), join(folder, "ask.link"));
      expect(readForeignQuestions(facts, folder).map(({ processId }) => processId)).toEqual([287, 286]);
      expect(readForeignQuestions(facts, join(folder, "none"))).toEqual([]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("put by our own asker is answered over real sockets, once", async () => {
    const folder = mkdtempSync("/tmp/latchkey-ask-");
    try {
      using asker = new AgentsAsker(folder);
      const answer = asker.ask({ text: "Passphrase", id: "latchkey:x" }, new AbortController().signal);
      const [question] = readForeignQuestions({ now: 0, isAlive: processIsAlive }, folder);
      if (!question) throw new Error("no question");
      using secret = SecretBytes.take(new TextEncoder().encode("typed"));
      expect(answerForeignQuestion(question, secret)).toBe(true);
      const given = await answer;
      if (given?.kind !== "secret") throw new Error("no answer");
      expect(given.secret.equals(secret)).toBe(true);
      given.secret[Symbol.dispose]();
      expect(answerForeignQuestion(question, secret)).toBe(false);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
