import { afterEach, describe, expect, test } from "bun:test";
import { PersonAtTerminal } from "../../../src/enroll/person.ts";
import { errorOf } from "../sources/clevis/make-tokens.ts";
import { Pty } from "../sources/prompt/pty.ts";
import { never, secretOf, textOf } from "./scene.ts";

const terminalType = process.env["TERM"];
afterEach(() => {
  if (terminalType === undefined) delete process.env["TERM"];
  else process.env["TERM"] = terminalType;
});

describe("a person at a terminal", () => {
  test.each([
    ["y", true],
    [" YES ", true],
    ["", false],
    ["n", false],
    ["yesterday", false],
    ["\x04", false],
  ])("who answers %j to a question for yes", async (typed, wanted) => {
    using pty = new Pty();
    const before = pty.settings();
    const answer = new PersonAtTerminal(pty.path).confirm(["One line.", "Another."], "Is it so?", never);
    await pty.shows("One line.\r\r\nAnother.\r\r\nIs it so? [y/N] ");
    pty.type(typed === "\x04" ? typed : `${typed}\r`);
    expect(await answer).toBe(wanted);
    expect(pty.settings()).toBe(before);
  });

  test("sees what a question for yes was answered with, and not what a question for a secret was", async () => {
    using pty = new Pty();
    const person = new PersonAtTerminal(pty.path);
    const confirmed = person.confirm([], "Is it so?", never);
    await pty.shows("[y/N] ");
    pty.type("yes\r");
    await confirmed;
    expect(pty.seen()).toContain("yes");
    const asking = person.askSecret("Say it", never);
    await pty.shows("Say it: ");
    pty.type("hush\r");
    using secret = await asking;
    expect(secret && textOf(secret)).toBe("hush");
    expect(pty.seen()).not.toContain("hush");
  });

  test("who typed yes before the question has not answered it", async () => {
    using pty = new Pty();
    pty.type("y\r");
    const answer = new PersonAtTerminal(pty.path).confirm([], "Is it so?", never);
    await pty.shows("[y/N] ");
    pty.type("\r");
    expect(await answer).toBe(false);
  });

  test("who declines, or is no longer wanted, gives nothing", async () => {
    using pty = new Pty();
    const person = new PersonAtTerminal(pty.path);
    const asking = person.askSecret("Say it", never);
    await pty.shows("Say it: ");
    pty.type("\x03");
    expect(await asking).toBeUndefined();
    const controller = new AbortController();
    const confirming = person.confirm([], "Is it so?", controller.signal);
    await pty.shows("[y/N] ");
    controller.abort();
    expect(await confirming).toBe(false);
  });

  test.each([
    ["xterm-256color", "\x1b[?1049h\x1b[H\x1b[2J", "\x1b[H\x1b[2J\x1b[?1049l"],
    ["linux", "\x1b[H\x1b[2J\x1b[3J", "\x1b[H\x1b[2J\x1b[3J"],
  ])(
    "sees a page that is gone afterwards, also when what comes after it fails: TERM=%s",
    async (type, enter, leave) => {
      process.env["TERM"] = type;
      using pty = new Pty();
      using secret = secretOf("page");
      const showing = new PersonAtTerminal(pty.path).show(["a ", secret], () => Promise.reject(new Error("fails")));
      await expect(showing).rejects.toThrow("fails");
      expect(pty.seen()).toBe(`${enter}a page${leave}`);
    },
  );

  test("who is not there is told about, with the options that need nobody", async () => {
    const person = new PersonAtTerminal("/nonexistent");
    for (const ask of [
      () => person.askSecret("Say it", never),
      () => person.confirm([], "Is it so?", never),
      () => person.show([], () => Promise.resolve()),
    ]) {
      const error = await errorOf(ask);
      expect([error.code, error.outcome]).toEqual(["prompt/no-console", "unavailable"]);
      expect(error.hint).toContain("--passphrase-file");
    }
  });
});
