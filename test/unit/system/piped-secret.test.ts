import { describe, expect, test } from "bun:test";
import { closeSync, writeSync } from "node:fs";
import { libc } from "../../../src/system/libc.ts";
import { readPipedSecret } from "../../../src/system/piped-secret.ts";

const STREAM = 1;
const AF_UNIX = 1;
const limits = { input: 400, afterLine: 100 };

/** A pair of connected sockets, as sshd gives them to a session. */
function pair(): { ours: number; theirs: number } & Disposable {
  const ends = new Int32Array(2);
  if (libc().socketpair(AF_UNIX, STREAM, 0, ends) < 0) throw new Error("no sockets");
  const [ours = -1, theirs = -1] = ends;
  let isOpen = true;
  return {
    ours,
    get theirs() {
      return theirs;
    },
    [Symbol.dispose]: () => {
      closeSync(ours);
      if (isOpen) closeSync(theirs);
      isOpen = false;
    },
  };
}

async function given(write: (fd: number) => Promise<void> | void): Promise<string> {
  using sockets = pair();
  const reading = readPipedSecret(sockets.ours, limits);
  await write(sockets.theirs);
  using secret = await reading;
  return new TextDecoder().decode(secret.bytes);
}

describe("a passphrase from a pipe", () => {
  test.each([
    ["with its line feed", "typed\n", "typed"],
    ["with several", "typed\n\n", "typed"],
    ["without one", "typed", "typed"],
    ["with one inside", "two\nlines\n", "two\nlines"],
    ["of blanks", "  \n", "  "],
  ])("%s", async (_, text, wanted) => {
    expect(await given((fd) => void writeSync(fd, text))).toBe(wanted);
  });

  test("in pieces, with a pause shorter than the limits", async () => {
    const text = await given(async (fd) => {
      writeSync(fd, "ty");
      await Bun.sleep(150);
      writeSync(fd, "ped\n");
    });
    expect(text).toBe("typed");
  });

  test.each([
    ["nothing comes", "", "answer/nothing-given"],
    ["only line feeds come", "\n\n", "answer/nothing-given"],
    ["far too much comes", "x".repeat(5000), "secret/too-long"],
  ])("is an error when %s", async (_, text, code) => {
    const error = await given((fd) => void (text && writeSync(fd, text))).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code });
  });
});
