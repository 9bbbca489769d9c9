import { describe, expect, test } from "bun:test";
import { chmodSync, existsSync, statSync } from "node:fs";
import { join } from "node:path";
import * as fc from "fast-check";
import { AGENTS_FOLDER, AgentsAsker } from "../../../../src/system/ask-password/agents-asker.ts";
import { LONGEST_ANSWER } from "../../../../src/system/ask-password/asker.ts";
import { reveal, TestAgent } from "./agent.ts";

const question = { text: 'Passphrase for root (bcachefs "tank")', id: "latchkey:root" };
const never = new AbortController().signal;

describe("a question to systemd's password agents", () => {
  test("appears whole in the agents' folder, with a socket for root alone, and goes when it is answered", async () => {
    using agent = new TestAgent();
    using asker = new AgentsAsker(agent.folder);
    const answer = asker.ask(question, never);
    const seen = await agent.sees("tank");
    expect(seen.text).toBe(
      `[Ask]\nPID=${process.pid}\nSocket=${seen.socket}\nAcceptCached=0\nEcho=0\nNotAfter=0\n` +
        'Message=Passphrase for root (bcachefs "tank"):\nIcon=drive-harddisk\nId=latchkey:root\n',
    );
    expect(statSync(seen.socket).mode & 0o777).toBe(0o600);
    expect(statSync(seen.file).mode & 0o777).toBe(0o644);
    agent.send(seen, "+correct horse\0");
    expect(reveal(await answer)).toBe("correct horse");
    expect(agent.files()).toEqual([]);
  });

  test("makes the folder when no agent has made it yet", async () => {
    using agent = new TestAgent();
    const folder = join(agent.folder, "run/systemd/ask-password");
    const abort = new AbortController();
    const answer = new AgentsAsker(folder).ask(question, abort.signal);
    expect(existsSync(folder)).toBe(true);
    abort.abort();
    expect(await answer).toBeUndefined();
  });

  test("leaves nothing behind when it is no longer wanted, and at once", async () => {
    using agent = new TestAgent();
    const abort = new AbortController();
    const answer = new AgentsAsker(agent.folder).ask(question, abort.signal);
    await agent.sees("root");
    const before = performance.now();
    abort.abort();
    expect(await answer).toBeUndefined();
    expect(performance.now() - before).toBeLessThan(200);
    expect(agent.files()).toEqual([]);
    expect(await new AgentsAsker(agent.folder).ask(question, abort.signal)).toBeUndefined();
  });

  test("takes an answer that came in the moment it was withdrawn off the socket", async () => {
    using agent = new TestAgent();
    const abort = new AbortController();
    const answer = new AgentsAsker(agent.folder).ask(question, abort.signal);
    const seen = await agent.sees("root");
    agent.send(seen, "+too late");
    abort.abort();
    expect(await answer).toBeUndefined();
    expect(() => agent.send(seen, "+later still")).toThrow("ENOENT");
  });

  test.each([
    ["with a closing NUL", "+secret\0", "secret"],
    ["without one", "+secret", "secret"],
    ["several, of which the first counts", "+first\0second\0", "first"],
    ["empty", "+", ""],
    ["empty with its NUL", "+\0", ""],
    ["with a line feed, which belongs to it", "+two\nlines", "two\nlines"],
    ["declined", "-", "cancelled"],
    ["as long as is allowed", `+${"x".repeat(LONGEST_ANSWER)}\0`, "x".repeat(LONGEST_ANSWER)],
    ["a byte too long", `+${"x".repeat(LONGEST_ANSWER + 1)}`, "too-long"],
    ["much too long", `+${"x".repeat(100_000)}`, "too-long"],
  ])("understands an answer %s", async (_, datagram, expected) => {
    using agent = new TestAgent();
    const answer = new AgentsAsker(agent.folder).ask(question, never);
    agent.send(await agent.sees("root"), datagram);
    expect(reveal(await answer)).toBe(expected);
  });

  test("goes on waiting after datagrams that are no answers", async () => {
    using agent = new TestAgent();
    const answer = new AgentsAsker(agent.folder).ask(question, never);
    const seen = await agent.sees("root");
    for (const noise of ["", "?", "secret", "\0+secret"]) agent.send(seen, noise);
    await Bun.sleep(60);
    agent.send(seen, "+right");
    expect(reveal(await answer)).toBe("right");
  });

  test("hands on exactly the bytes of the answer, whatever they are", async () => {
    using agent = new TestAgent();
    using asker = new AgentsAsker(agent.folder);
    const bytes = fc.uint8Array({ min: 1, minLength: 1, maxLength: LONGEST_ANSWER });
    await fc.assert(
      fc.asyncProperty(bytes, async (passphrase) => {
        const answer = asker.ask(question, never);
        agent.send(await agent.sees("root"), Uint8Array.of(0x2b, ...passphrase, 0));
        const got = await answer;
        if (got?.kind !== "secret") throw new Error(`not a secret but ${got?.kind}`);
        using secret = got.secret;
        expect(Buffer.compare(secret.bytes, passphrase)).toBe(0);
        expect(agent.files()).toEqual([]);
      }),
      { numRuns: 60 },
    );
  }, 30_000);

  test("is one of several at the same time, each with its own answer", async () => {
    using agent = new TestAgent();
    const asked = ["one", "two", "three"].map((text) => ({
      text,
      answer: new AgentsAsker(agent.folder).ask({ text, id: text }, never),
    }));
    for (const { text } of asked.toReversed()) agent.send(await agent.sees(text), `+for ${text}`);
    for (const { text, answer } of asked) expect(reveal(await answer)).toBe(`for ${text}`);
    expect(agent.files()).toEqual([]);
  });

  test("does not outlive a process that is told to end", async () => {
    using agent = new TestAgent();
    const child = Bun.spawn([process.execPath, join(import.meta.dir, "forgetting-program.ts"), "agents", agent.folder]);
    await agent.sees("Passphrase");
    child.kill("SIGTERM");
    await child.exited;
    expect(child.signalCode).toBe("SIGTERM");
    expect(agent.files()).toEqual([]);
  });

  test("says which folder it could not use", async () => {
    const asker = new AgentsAsker("/proc/latchkey-cannot-write-here");
    await expect(asker.ask(question, never)).rejects.toThrow(
      "cannot put a question into /proc/latchkey-cannot-write-here",
    );
  });

  test.skipIf(process.geteuid?.() !== 0)("ignores an answer from a user who is not root", async () => {
    using agent = new TestAgent();
    const answer = new AgentsAsker(agent.folder).ask(question, never);
    const seen = await agent.sees("root");
    chmodSync(agent.folder, 0o755);
    chmodSync(seen.socket, 0o666); // somebody opened what we had closed: the kernel's word on the sender still counts
    const stranger = Bun.spawn([process.execPath, join(import.meta.dir, "stranger.ts"), seen.socket]);
    expect(await stranger.exited).toBe(0);
    await Bun.sleep(60);
    agent.send(seen, "+from root");
    expect(reveal(await answer)).toBe("from root");
  });
});

const realAgent = Bun.which("systemd-tty-ask-password-agent");
// Not where systemd is the init system: there its other agents would show the test's question to everybody logged in.
const canUseRealAgent =
  realAgent !== null &&
  Bun.which("script") !== null &&
  process.geteuid?.() === 0 &&
  existsSync("/run/systemd") &&
  !existsSync("/run/systemd/system");

describe.skipIf(!canUseRealAgent)("systemd's own console agent", () => {
  test("shows the question and its answer arrives", async () => {
    using asker = new AgentsAsker(AGENTS_FOLDER);
    const abort = new AbortController();
    const answer = asker.ask({ text: "Passphrase for latchkey's own test", id: "latchkey:test" }, abort.signal);
    // script(1) gives the agent the controlling terminal that it insists on.
    const agent = Bun.spawn(["script", "-qfec", `${realAgent} --query`, "/dev/null"], {
      stdin: "pipe",
      stdout: "pipe",
    });
    let shown = "";
    for await (const chunk of agent.stdout) {
      shown += new TextDecoder().decode(chunk);
      if (shown.includes("own test:")) break;
    }
    agent.stdin.write("from the real agent\n");
    await agent.stdin.flush();
    setTimeout(() => abort.abort(), 3000);
    expect(reveal(await answer)).toBe("from the real agent");
    agent.kill();
    await agent.exited;
  });
});
