import { describe, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { LONGEST_ANSWER } from "../../../../src/system/ask-password/asker.ts";
import { AskpassAsker } from "../../../../src/system/ask-password/askpass-asker.ts";
import { reveal } from "./agent.ts";
import { Pty } from "./pty.ts";

const question = { text: "Passphrase for root", id: "latchkey:root" };
const never = new AbortController().signal;

/** Stands in for Debian's askpass: the same manners (blocks signals, listens to its FIFO), none of its ways to a screen. */
class StubAskpass implements Disposable {
  readonly folder = mkdtempSync("/tmp/latchkey-askpass-");
  readonly pty = new Pty();
  readonly fifo = join(this.folder, "passfifo");
  readonly asker: AskpassAsker;

  constructor(body: string) {
    const program = join(this.folder, "stub-askpass");
    writeFileSync(program, `#!/bin/sh\ntrap '' TERM HUP INT\nfifo='${this.fifo}'\nprintf %s "$1" >&2\n${body}\n`);
    chmodSync(program, 0o755);
    this.asker = new AskpassAsker({ program, fifo: this.fifo, console: this.pty.path });
  }

  [Symbol.dispose](): void {
    this.pty[Symbol.dispose]();
    rmSync(this.folder, { recursive: true });
  }
}

const LISTENS = '[ -p "$fifo" ] || mkfifo -m 600 "$fifo"\nexec cat "$fifo"';
const READS_LINE = '[ -t 0 ] || exit 3\nstty -echo\nIFS= read -r line\nstty echo\nprintf %s "$line"';

describe("a question through Debian's askpass", () => {
  test("is shown on the console, and what is typed there arrives", async () => {
    using stub = new StubAskpass(READS_LINE);
    const answer = stub.asker.ask(question, never);
    await stub.pty.shows("Passphrase for root: ");
    stub.pty.type("  correct horse\r");
    expect(reveal(await answer)).toBe("  correct horse");
  });

  test("takes exactly the bytes of the FIFO", async () => {
    using stub = new StubAskpass(LISTENS);
    const bytes = Uint8Array.from({ length: 512 }, (_, index) => index & 0xff);
    const answer = stub.asker.ask(question, never);
    await stub.pty.shows("root: ");
    while (
      !(await Bun.file(stub.fifo)
        .exists()
        .catch(() => false))
    )
      await Bun.sleep(5);
    await Bun.write(join(stub.folder, "bytes"), bytes);
    await Bun.spawn(["sh", "-c", `cat '${stub.folder}/bytes' > '${stub.fifo}'`]).exited;
    const got = await answer;
    if (got?.kind !== "secret") throw new Error(`not a secret but ${got?.kind}`);
    using secret = got.secret;
    expect(Buffer.compare(secret.bytes, bytes)).toBe(0);
  });

  test("ends by itself when withdrawn, though askpass blocks every signal", async () => {
    using stub = new StubAskpass(LISTENS);
    const abort = new AbortController();
    const answer = stub.asker.ask(question, abort.signal);
    await stub.pty.shows("root: ");
    abort.abort();
    expect(await answer).toBeUndefined();
    expect(await stub.asker.ask(question, abort.signal)).toBeUndefined();
  });

  test("is killed when it does not listen, and the console is as it was", async () => {
    using stub = new StubAskpass("stty -echo\nprintf ' (quiet)' >&2\nexec sleep 60");
    const before = stub.pty.settings();
    const abort = new AbortController();
    const answer = stub.asker.ask(question, abort.signal);
    await stub.pty.shows("(quiet)");
    expect(stub.pty.settings()).not.toBe(before);
    const started = performance.now();
    abort.abort();
    expect(await answer).toBeUndefined();
    expect(performance.now() - started).toBeLessThan(3000);
    expect(stub.pty.settings()).toBe(before);
  });

  test.each([
    ["an empty answer", "exit 0", ""],
    ["the longest answer", `head -c ${LONGEST_ANSWER} /dev/zero | tr '\\0' x`, "x".repeat(LONGEST_ANSWER)],
    ["an answer too long", `head -c ${LONGEST_ANSWER + 1} /dev/zero`, "too-long"],
  ])("understands %s", async (_, body, expected) => {
    using stub = new StubAskpass(body);
    expect(reveal(await stub.asker.ask(question, never))).toBe(expected);
  });

  test("that ends without an answer says so", async () => {
    using stub = new StubAskpass("exit 5");
    await expect(stub.asker.ask(question, never)).rejects.toThrow("ended without an answer (exit status 5)");
  });

  test("is not put where its answer would be shown: without a terminal askpass writes it to the console", async () => {
    const asker = new AskpassAsker({ program: "/bin/true", fifo: "/nowhere", console: "/dev/null" });
    await expect(asker.ask(question, never)).rejects.toThrow("askpass needs one");
    const gone = new AskpassAsker({ program: "/bin/true", fifo: "/nowhere", console: "/nowhere" });
    await expect(gone.ask(question, never)).rejects.toThrow("cannot open /nowhere");
  });

  test("that is not there says so", async () => {
    using pty = new Pty();
    const asker = new AskpassAsker({ program: "/nowhere/askpass", fifo: "/nowhere/fifo", console: pty.path });
    await expect(asker.ask(question, never)).rejects.toThrow("cannot start /nowhere/askpass");
  });
});
