import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { PromptSource } from "../../../../src/sources/prompt/prompt-source.ts";
import { AgentsAsker } from "../../../../src/system/ask-password/agents-asker.ts";
import type { Answer, Asker, Way } from "../../../../src/system/ask-password/asker.ts";
import { ConsoleAsker } from "../../../../src/system/ask-password/console-asker.ts";
import { monotonicClock } from "../../../../src/system/clock.ts";
import { LatchkeyError } from "../../../../src/system/errors.ts";
import { SecretBytes } from "../../../../src/system/secret-bytes.ts";
import { HandClock, settle } from "../../unlock/fakes.ts";
import { TestAgent } from "./agent.ts";
import { FakeAsker, FakeHeart } from "./fakes.ts";
import { Pty } from "./pty.ts";

const declined: Answer = { kind: "cancelled" };

function start(heart: FakeHeart, ways: readonly [Way, ...Way[]] = ["console"]) {
  const clock = new HandClock();
  const asker = new FakeAsker(ways[0]);
  const source = new PromptSource({ volumes: ["root", "data"], ways, openWay: () => asker, clock });
  let end: "running" | "done" | LatchkeyError = "running";
  const running = source.run(heart).then(
    () => {
      end = "done";
    },
    (thrown: unknown) => {
      end = thrown instanceof LatchkeyError ? thrown : new LatchkeyError("internal/defect", String(thrown));
    },
  );
  return { clock, asker, source, running, end: () => end };
}

describe("the prompt source", () => {
  test("says what it is", () => {
    const { source } = start(new FakeHeart({}));
    expect(source).toMatchObject({ kind: "prompt", name: "prompt", isQuestion: true, volumes: ["root", "data"] });
  });

  test("asks until the answer is right, and says which try it is", async () => {
    const heart = new FakeHeart({ root: "right" });
    const { asker, running } = start(heart);
    for (const answer of ["wrong", "wronger", "right"]) {
      await settle();
      asker.answer(answer);
    }
    await running;
    expect(asker.asked).toEqual([
      "Passphrase for root",
      "Wrong passphrase for root, try again (2nd try)",
      "Wrong passphrase for root, try again (3rd try)",
    ]);
    expect(asker.ids[0]).toBe("latchkey:root");
    expect(asker.isDisposed).toBe(true);
    expect(heart.notes).toEqual(["asking on the console"]);
  });

  test("asks once for several volumes, and again for those that one answer did not open", async () => {
    const { asker, running } = start(new FakeHeart({ root: "one", data: "two" }));
    for (const answer of ["two", "three", "one"]) {
      await settle();
      asker.answer(answer);
    }
    await running;
    expect(asker.asked).toEqual([
      "Passphrase for root and data",
      "That opened data; passphrase for root",
      "Wrong passphrase for root, try again (2nd try)",
    ]);
    expect(asker.ids).toEqual(["latchkey:root,data", "latchkey:root", "latchkey:root"]);
  });

  test("changes the question when a volume appears, and not when nothing did", async () => {
    const heart = new FakeHeart({ root: "one", data: "one" }, ["data"]);
    const { asker, running } = start(heart);
    await settle();
    heart.changes();
    await settle();
    expect(asker.asked).toEqual(["Passphrase for root"]);
    heart.appears("data");
    await settle();
    expect(asker.asked).toEqual(["Passphrase for root", "Passphrase for root and data"]);
    asker.answer("one");
    await running;
  });

  test("changes the question when somebody else opened a volume, and ends when that was the last one", async () => {
    const heart = new FakeHeart({ root: "one", data: "two" });
    const { asker, running } = start(heart);
    await settle();
    heart.opensElsewhere("data");
    await settle();
    expect(asker.asked).toEqual(["Passphrase for root and data", "Passphrase for root"]);
    heart.opensElsewhere("root");
    await running;
    expect(asker.isUp).toBe(false);
    expect(asker.asked).toHaveLength(2);
  });

  test("takes the question down while no volume is closed but one may still appear", async () => {
    const heart = new FakeHeart({ root: "one", data: "two" }, ["data"]);
    const { asker, clock, running } = start(heart);
    await settle();
    heart.opensElsewhere("root");
    await clock.advance(200);
    expect(asker.isUp).toBe(false);
    heart.appears("data");
    await settle();
    expect(asker.asked).toEqual(["Passphrase for root", "Passphrase for data"]);
    asker.answer("two");
    await running;
  });

  test("ends at once when it is no longer wanted, whatever it was doing", async () => {
    const asking = new FakeHeart({ root: "one" });
    const whileAsking = start(asking);
    await settle();
    asking.abort();
    await whileAsking.running;
    expect(whileAsking.end()).toBe("done");
    expect(whileAsking.asker.isUp).toBe(false);

    const waiting = new FakeHeart({ root: "one" }, ["root"]);
    const whileWaiting = start(waiting);
    await settle();
    waiting.abort();
    await whileWaiting.running;
    expect(whileWaiting.asker.asked).toEqual([]);

    const pausing = new FakeHeart({ root: "one" });
    const whilePausing = start(pausing);
    await settle();
    whilePausing.asker.answer("");
    await settle();
    pausing.abort();
    await whilePausing.running;
    expect(whilePausing.end()).toBe("done");

    const offering = new FakeHeart({ root: "one" });
    offering.offer = () => new Promise(() => undefined); // a derivation that takes for ever
    const whileOffering = start(offering);
    await settle();
    whileOffering.asker.answer("one");
    await settle();
    offering.abort();
    await whileOffering.running;
    expect(whileOffering.end()).toBe("done");
  });

  test("does not try an empty answer or one too long, and asks again after a pause", async () => {
    const heart = new FakeHeart({ root: "right" });
    const { asker, clock, running } = start(heart);
    await settle();
    asker.answer("");
    await settle();
    expect(asker.isUp).toBe(false);
    await clock.advance(1000);
    asker.answer({ kind: "too-long" });
    await clock.advance(1000);
    asker.answer("right");
    await running;
    expect(asker.asked).toEqual([
      "Passphrase for root",
      "Nothing was typed; passphrase for root",
      "That was too long; passphrase for root",
    ]);
    expect(heart.offered.map(String)).toEqual(["right"]);
  });

  test("ends after the third no in a row, so that the boot goes on to the system's own way in", async () => {
    const { asker, clock, running, end } = start(new FakeHeart({ root: "right" }));
    for (const answer of [declined, declined, "wrong", declined, declined, declined]) {
      await settle();
      asker.answer(answer);
      await clock.advance(1000);
    }
    await running;
    expect(end()).toMatchObject({
      code: "prompt/cancelled",
      outcome: "unavailable",
      message: "the question for the passphrase of root was declined 3 times",
    });
    expect(asker.asked[1]).toBe("Cancelled, asking again; passphrase for root");
    expect(asker.asked).toHaveLength(6);
  });

  test("ends with the first no at a terminal: there ctrl-C means stop", async () => {
    const { asker, running, end } = start(new FakeHeart({ root: "right" }), ["terminal"]);
    await settle();
    asker.answer(declined);
    await running;
    expect(end()).toMatchObject({
      code: "prompt/cancelled",
      message: "the question for the passphrase of root was declined",
    });
  });

  test("wipes every answer it was given", async () => {
    const views: Uint8Array[] = [];
    const heart = new FakeHeart({ root: "right" });
    const offer = heart.offer.bind(heart);
    heart.offer = (secret) => {
      views.push(secret.bytes);
      return offer(secret);
    };
    const { asker, running } = start(heart);
    for (const answer of ["wrong", "right"]) {
      await settle();
      asker.answer(answer);
    }
    await running;
    expect(views.map((view) => view.every((byte) => byte === 0))).toEqual([true, true]);
  });

  test("takes the next way when one does not work, and says why in the report", async () => {
    const heart = new FakeHeart({ root: "right" });
    const asker = new FakeAsker("console");
    const broken: Asker = {
      way: "agents",
      ask: async () => {
        throw new LatchkeyError("prompt/no-agents", "cannot put a question into /run (EROFS)");
      },
      [Symbol.dispose]: () => undefined,
    };
    const source = new PromptSource({
      volumes: ["root"],
      ways: ["agents", "console"],
      openWay: (way) => (way === "agents" ? broken : asker),
      clock: monotonicClock,
    });
    const running = source.run(heart);
    await settle();
    asker.answer("right");
    await running;
    expect(heart.notes).toEqual([
      "asking through systemd's password agents",
      "cannot ask through systemd's password agents: cannot put a question into /run (EROFS)",
      "asking on the console",
    ]);
  });

  test("ends with the reason when no way works", async () => {
    const heart = new FakeHeart({ root: "right" });
    const source = new PromptSource({
      volumes: ["root"],
      ways: ["console"],
      openWay: () => new ConsoleAsker("console", "/nowhere"),
      clock: monotonicClock,
    });
    await expect(source.run(heart)).rejects.toMatchObject({ code: "prompt/no-console", outcome: "unavailable" });
  });

  test("offers exactly the bytes of the answer", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 300 }), async (bytes) => {
        const heart = new FakeHeart({ root: "right" });
        const { asker, running } = start(heart);
        await settle();
        asker.answer({ kind: "secret", secret: SecretBytes.take(bytes.slice()) });
        await settle();
        heart.abort();
        await running;
        expect(heart.offered.map((offered) => offered.equals(bytes))).toEqual([true]);
      }),
      { numRuns: 30 },
    );
  });
});

describe("a whole evening of questions", () => {
  test("through agents: wrong, then empty, then right", async () => {
    using agent = new TestAgent();
    const heart = new FakeHeart({ root: "correct horse" });
    const running = new PromptSource({
      volumes: ["root"],
      ways: ["agents"],
      openWay: () => new AgentsAsker(agent.folder),
      clock: monotonicClock,
    }).run(heart);
    agent.send(await agent.sees("Passphrase for root:"), "+battery staple\0");
    agent.send(await agent.sees("Wrong passphrase for root, try again (2nd try):"), "+\0");
    agent.send(await agent.sees("Nothing was typed"), "+correct horse\0");
    await running;
    await agent.seesNone();
    expect(heart.offered.map(String)).toEqual(["battery staple", "correct horse"]);
  });

  test("on a terminal: another volume appears while half the passphrase is typed", async () => {
    using pty = new Pty();
    const before = pty.settings();
    const heart = new FakeHeart({ root: "correct horse", data: "correct horse" }, ["data"]);
    const running = new PromptSource({
      volumes: ["root", "data"],
      ways: ["terminal"],
      openWay: () => new ConsoleAsker("terminal", pty.path),
      clock: monotonicClock,
    }).run(heart);
    await pty.shows("Passphrase for root: ");
    pty.type("correct ");
    heart.appears("data");
    await pty.shows("Passphrase for root and data: ");
    pty.type("horse\r");
    await running;
    expect(heart.offered.map(String)).toEqual(["correct horse"]);
    expect(pty.settings()).toBe(before);
    expect(pty.seen()).not.toContain("horse");
  });

  test("two sessions at the same agents do not mix", async () => {
    using agent = new TestAgent();
    const hearts = { root: new FakeHeart({ root: "one" }), data: new FakeHeart({ data: "two" }) };
    const running = Object.entries(hearts).map(([name, heart]) =>
      new PromptSource({
        volumes: [name],
        ways: ["agents"],
        openWay: () => new AgentsAsker(agent.folder),
        clock: monotonicClock,
      }).run(heart),
    );
    agent.send(await agent.sees("for data"), "+two");
    agent.send(await agent.sees("for root"), "+one");
    await Promise.all(running);
    expect(agent.files()).toEqual([]);
    expect(hearts.root.offered.map(String)).toEqual(["one"]);
  });
});
