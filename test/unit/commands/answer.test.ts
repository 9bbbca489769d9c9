import { describe, expect, test } from "bun:test";
import { answerFromInput } from "../../../src/commands/answer-input.ts";
import { elapsed, greeting, news, verdictLines } from "../../../src/commands/answer-screen.ts";
import { answerOnTerminal } from "../../../src/commands/answer-terminal.ts";
import { type State, stateOf } from "../../../src/sources/remote/messages.ts";
import { ConsoleAsker } from "../../../src/system/ask-password/console-asker.ts";
import { LatchkeyError } from "../../../src/system/errors.ts";
import { Pty } from "../sources/prompt/pty.ts";
import { Scene, secretOf } from "../sources/remote/scene.ts";

const never = new AbortController().signal;
const noon = () => new Date("2026-11-22T12:00:00Z");

/** A person's session at a real terminal. */
function terminalSession(scene: Scene) {
  const pty = new Pty();
  const asker = new ConsoleAsker("terminal", pty.path);
  const said: string[] = [];
  const desk = scene.desk();
  const end = answerOnTerminal({ desk, asker, wallClock: noon, say: (lines) => said.push(...lines) }, never).finally(
    () => asker[Symbol.dispose](),
  );
  end.catch(() => undefined);
  return { pty, said, end, [Symbol.dispose]: () => pty[Symbol.dispose]() };
}

async function told(said: readonly string[], words: string): Promise<void> {
  for (let tries = 0; tries < 500; tries += 1) {
    if (said.some((line) => line.includes(words))) return;
    await Bun.sleep(10);
  }
  throw new Error(`never said ${JSON.stringify(words)}, only ${JSON.stringify(said)}`);
}

describe("on a terminal", () => {
  test("a person is told wrong and asked again, told right, and let go", async () => {
    await using scene = new Scene({ root: "good" });
    using session = terminalSession(scene);
    await session.pty.shows("Passphrase for root (disk of root): ");
    session.pty.type("bad\r");
    await told(session.said, "wrong passphrase for root");
    await session.pty.shows("Passphrase for root (disk of root): ", 2);
    session.pty.type("good\r");
    expect(await session.end).toEqual({ kind: "open" });
    expect(session.said).toContain("right: root is open");
    expect(session.said[0]).toMatch(
      /^latchkey on server1, 2026-11-22 12:00:00 UTC, [\d.]+ (?:s|min|h \d+ min) after the start$/,
    );
    expect(session.pty.seen()).not.toMatch(/bad|good/);
  });

  test("what happens elsewhere is told between two questions, and what was typed so far counts", async () => {
    await using scene = new Scene({ root: "good", data: "other" });
    using session = terminalSession(scene);
    await session.pty.shows("Passphrase for root and data: ");
    session.pty.type("go");
    scene.heart.failures.push({ at: 5000, source: "prompt", volume: "root", reason: "root: wrong passphrase" });
    await told(session.said, "5.0 s  prompt  root: wrong passphrase");
    await session.pty.shows("Passphrase for root and data: ", 2);
    session.pty.type("od\r");
    await told(session.said, "right: root is open");
    scene.heart.opens("data");
    expect(await session.end).toEqual({ kind: "open" });
  });

  test("the next question is for what is left, and what this answer has opened is not told twice", async () => {
    await using scene = new Scene({ root: "good", data: "other" });
    using session = terminalSession(scene);
    await session.pty.shows("Passphrase for root and data: ");
    session.pty.type("good\r");
    await session.pty.shows("Passphrase for data (disk of data): ");
    expect(session.pty.seen().match(/Passphrase/g)?.length).toBe(2);
    session.pty.type("other\r");
    expect(await session.end).toEqual({ kind: "open" });
    expect(session.said.filter((line) => line.includes("root"))).toEqual([
      "  root  closed  disk of root",
      "right: root is open",
    ]);
  });

  test("the question comes when it is time to ask", async () => {
    await using scene = new Scene({ root: "good" }, { start: "fallback" });
    using session = terminalSession(scene);
    await told(session.said, "the automatic ways are still being tried");
    expect(session.pty.seen()).toBe("");
    scene.heart.askNow();
    await session.pty.shows("Passphrase for root");
    expect(session.said).toContain("the automatic ways have not opened everything");
  });

  test("an empty answer is not tried, and declining ends the session alone", async () => {
    await using scene = new Scene({ root: "good" });
    using session = terminalSession(scene);
    await session.pty.shows("Passphrase for root");
    session.pty.type("\r");
    await told(session.said, "nothing was typed");
    await session.pty.shows("Passphrase for root", 2);
    session.pty.type("\x03");
    const error = await session.end.catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "prompt/cancelled", outcome: "unavailable" });
    expect(scene.heart.offered).toEqual([]);
    using other = terminalSession(scene);
    await other.pty.shows("Passphrase for root");
  });

  test("another program's question is put after the agent's", async () => {
    await using scene = new Scene({ root: "good" });
    scene.foreign = [
      { file: "/run/a", id: "cryptsetup:/dev/sdb", message: "Disk B", processId: 1, socket: "/run/s", notAfter: 0 },
    ];
    using session = terminalSession(scene);
    await session.pty.shows("Passphrase for root");
    session.pty.type("good\r");
    await session.pty.shows("Asked by another program: Disk B: ");
    session.pty.type("b\r");
    await told(session.said, "passed on");
    expect(scene.foreignAnswers).toEqual(["cryptsetup:/dev/sdb b"]);
    expect(await session.end).toEqual({ kind: "answered" });
  });
});

describe("from standard input", () => {
  async function script(scene: Scene, passphrase: string) {
    const said: string[] = [];
    const parts = { desk: scene.desk(), say: (lines: readonly string[]) => said.push(...lines) };
    try {
      await answerFromInput(secretOf(passphrase), parts, never);
      return { said, error: undefined };
    } catch (thrown) {
      return { said, error: thrown as LatchkeyError };
    }
  }

  test("the right passphrase opens", async () => {
    await using scene = new Scene({ root: "good" });
    expect(await script(scene, "good")).toEqual({ said: ["right: root is open"], error: undefined });
  });

  test("a wrong one is said to be wrong", async () => {
    await using scene = new Scene({ root: "good" });
    const { said, error } = await script(scene, "bad");
    expect(said).toEqual([]);
    expect(error).toMatchObject({ code: "answer/wrong", outcome: "wrong-credential" });
    expect(error?.message).toBe("wrong passphrase for root");
  });

  test("one that opens some volumes is right, and says which are left", async () => {
    await using scene = new Scene({ root: "one", data: "two" });
    expect(await script(scene, "one")).toEqual({
      said: ["right: root is open", "wrong passphrase for data"],
      error: undefined,
    });
  });

  test("waits for the time to ask, and is not needed when all has been opened by then", async () => {
    await using scene = new Scene({ root: "good" }, { start: "fallback" });
    const waiting = script(scene, "good");
    await Bun.sleep(200);
    expect(scene.heart.offered).toEqual([]);
    scene.heart.opens("root");
    expect(await waiting).toEqual({ said: ["nothing waits for a passphrase: everything is open"], error: undefined });
  });

  test("reaches another program where there is no agent, and learns from its asking again", async () => {
    await using scene = new Scene({ root: "good" });
    const said: string[] = [];
    const question = { file: "/run/a", id: "x", message: "Disk", processId: 1, socket: "/run/s", notAfter: 0 };
    let questions = [question];
    const desk = scene.desk({
      connect: () => {
        throw new LatchkeyError("system/socket", "nobody listens");
      },
      foreignQuestions: () => questions,
      answerForeign: () => {
        questions = [{ ...question, file: "/run/b" }];
        return true;
      },
    });
    const answering = answerFromInput(secretOf("bad"), { desk, say: (l) => said.push(...l) }, never);
    expect(await answering.catch((thrown: unknown) => thrown)).toMatchObject({ code: "answer/wrong" });
  });
});

describe("what a session shows", () => {
  const state: State = stateOf(
    {
      volumes: [
        { name: "root", description: 'bcachefs "tank" on /dev/vda', standing: "closed", reason: undefined },
        { name: "data", description: undefined, standing: "waiting", reason: undefined },
        {
          name: "evil\u001b[2J\u202e",
          description: "x\ny",
          standing: "failed",
          reason: "evil: is not encrypted: refused",
        },
      ],
      failures: [
        { at: 2100, source: "clevis", volume: undefined, reason: "PCR 7 differs from what the token was sealed to" },
      ],
    },
    { host: "server1", now: 25_000, isQuestionTime: true, closed: ["root"] },
  );

  test("at the start: host, time, volumes, and what was tried with its reason", () => {
    expect(greeting(state, noon())).toEqual([
      "latchkey on server1, 2026-11-22 12:00:00 UTC, 25.0 s after the start",
      "",
      '  root      closed   bcachefs "tank" on /dev/vda',
      "  data      waiting  its devices are not there yet",
      "  evil [2J  failed   evil: is not encrypted: refused",
      "",
      "tried so far:",
      "  2.1 s  clevis  PCR 7 differs from what the token was sealed to",
      "",
    ]);
  });

  test("later: only what has changed, and not what sessions themselves got wrong", () => {
    const later: State = {
      ...state,
      volumes: state.volumes.map((volume) => (volume.name === "data" ? { ...volume, standing: "open" } : volume)),
      failures: [
        ...state.failures,
        { at: 3000, source: "remote", volume: "root", reason: "root: wrong passphrase" },
        { at: 4000, source: "prompt", volume: "root", reason: "root: wrong passphrase" },
      ],
    };
    expect(news(state, later)).toEqual(["4.0 s  prompt  root: wrong passphrase", "data  open"]);
    expect(news(later, later)).toEqual([]);
  });

  test.each([
    [2100, "2.1 s"],
    [119_999, "120.0 s"],
    [120_000, "2 min"],
    [26_460_000, "7 h 21 min"],
  ])("of %p milliseconds %p", (milliseconds, text) => {
    expect(elapsed(milliseconds)).toBe(text);
  });

  test.each([
    [{ kind: "tried", opened: ["root"], failed: [], wait: 0 }, ["right: root is open"]],
    [
      { kind: "tried", opened: [], failed: [{ name: "root", isWrong: true, reason: "" }], wait: 2000 },
      ["wrong passphrase for root", "the next answer is tried in 2 s"],
    ],
    [
      { kind: "tried", opened: [], failed: [{ name: "d", isWrong: false, reason: "d: device gone" }], wait: 0 },
      ["d: device gone"],
    ],
    [{ kind: "nothing-closed", opened: [], failed: [], wait: 0 }, ["not tried: nothing is waiting for an answer"]],
  ] as const)("of a verdict %#", (verdict, lines) => {
    expect(verdictLines({ ...verdict, opened: [...verdict.opened], failed: [...verdict.failed] })).toEqual([...lines]);
  });
});
