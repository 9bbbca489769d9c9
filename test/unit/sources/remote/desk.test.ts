import { describe, expect, test } from "bun:test";
import type { Asked } from "../../../../src/sources/remote/desk.ts";
import { Desk, WAIT_FOR_QUESTION, WAIT_FOR_REPEAT, WAIT_FOR_SYSTEM } from "../../../../src/sources/remote/desk.ts";
import type { ForeignQuestion } from "../../../../src/system/ask-password/foreign-questions.ts";
import { LatchkeyError } from "../../../../src/system/errors.ts";
import { HandClock } from "../../unlock/fakes.ts";
import { Scene, secretOf } from "./scene.ts";

const never = new AbortController().signal;

const asks = (id: string, file = `/run/systemd/ask-password/ask.${id}`): ForeignQuestion => ({
  file,
  id,
  message: `Please enter passphrase for ${id}`,
  processId: 1,
  socket: "/run/systemd/ask-password/sck.x",
  notAfter: 0,
});

/** A desk on a machine without an agent, whose time is turned by hand. */
function alone(parts: { foreign?: ForeignQuestion[]; bootIsDone?: boolean } = {}) {
  const clock = new HandClock();
  const foreign = parts.foreign ?? [];
  const answers: string[] = [];
  const state = { isAlive: true, isRootMounted: false };
  const desk = new Desk({
    clock,
    from: undefined,
    connect: () => {
      throw new LatchkeyError("system/socket", "nobody listens");
    },
    foreignQuestions: () => foreign,
    answerForeign: ({ id }, secret) => {
      answers.push(`${id} ${new TextDecoder().decode(secret.bytes)}`);
      return true;
    },
    askpass: () => undefined,
    answerAskpass: () => false,
    isAlive: () => state.isAlive,
    rootIsMounted: () => state.isRootMounted,
    bootIsDone: () => parts.bootIsDone ?? false,
  });
  const end = desk.until(() => desk.end, never);
  return { clock, desk, foreign, answers, end, state };
}

describe("a session", () => {
  test("asks for what the agent has closed, and for others' volumes when that is done", async () => {
    await using scene = new Scene({ root: "good" });
    scene.foreign = [asks("cryptsetup:/dev/sdb"), asks("latchkey:root")];
    const desk = scene.desk();
    const first = await desk.until(() => (desk.state ? desk.question : undefined), never);
    expect(first).toMatchObject({ by: "agent", wanted: [{ name: "root", description: "disk of root" }] });
    expect(await desk.answerAgent(secretOf("good"), never)).toMatchObject({ opened: ["root"] });
    const second = await desk.until(() => (desk.question?.by === "other" ? desk.question : undefined), never);
    expect(second?.message).toBe("Please enter passphrase for cryptsetup:/dev/sdb");
    expect(desk.end).toBeUndefined();
    using secret = secretOf("b");
    second?.answer(secret);
    expect(scene.foreignAnswers).toEqual(["cryptsetup:/dev/sdb b"]);
  });

  test("ends at once when everything is open", async () => {
    await using scene = new Scene({ root: "good" });
    const desk = scene.desk();
    await desk.until(() => desk.state, never);
    scene.heart.opens("root");
    expect(await desk.until(() => desk.end, never)).toEqual({ kind: "open" });
  });

  test("comes back to an agent that was started again", async () => {
    let scene = new Scene({ root: "good" });
    const { socket } = scene;
    const desk = scene.desk({ connect: () => scene.connect() });
    await desk.until(() => desk.state, never);
    scene.heart.abort();
    await scene.running;
    expect(await desk.until(() => (desk.state ? undefined : true), never)).toBe(true);
    expect(desk.end).toBeUndefined();
    const second = new Scene({ root: "good", data: "good" });
    await using first = scene;
    scene = second;
    await using _ = second;
    expect((await desk.until(() => desk.state, never))?.volumes.length).toBe(2);
    expect(first.socket).toBe(socket);
  });

  test("gives up when nobody asks, and not before", async () => {
    const { clock, desk, end } = alone();
    await clock.advance(WAIT_FOR_QUESTION - 1000);
    expect(desk.end).toBeUndefined();
    await clock.advance(2000);
    expect(await end).toEqual({ kind: "nobody-asks" });
  });

  test("is not needed when the boot is done", async () => {
    const { clock, end } = alone({ bootIsDone: true });
    await clock.advance(100);
    expect(await end).toEqual({ kind: "open" });
  });

  test("without an agent answers latchkey's own question in the folder, and ends when it is not asked again", async () => {
    const question = asks("latchkey:root");
    const { clock, desk, end, answers } = alone({ foreign: [question] });
    await clock.advance(100);
    const asked = desk.question as Extract<Asked, { by: "other" }>;
    expect(asked.message).toBe(question.message);
    using secret = secretOf("typed");
    expect(asked.answer(secret)).toBe(true);
    expect(answers).toEqual(["latchkey:root typed"]);
    expect(desk.question).toBeUndefined(); // the file may still be there for a moment
    await clock.advance(WAIT_FOR_REPEAT + 1000);
    expect(await end).toEqual({ kind: "answered" });
  });

  /** One question of another program, answered. */
  async function answered(id: string) {
    const parts = alone({ foreign: [asks(id)] });
    await parts.clock.advance(100);
    using secret = secretOf("typed");
    (parts.desk.question as Extract<Asked, { by: "other" }>).answer(secret);
    parts.foreign.splice(0);
    return parts;
  }

  test("is over when systemd-cryptsetup, once answered, has ended without asking again", async () => {
    const { clock, desk, end, state } = await answered("cryptsetup:/dev/sdb");
    await clock.advance(1000);
    expect(desk.end).toBeUndefined();
    state.isAlive = false;
    await clock.advance(100);
    expect(await end).toEqual({ kind: "answered" });
  });

  test("is over when what only asked has ended, and the root is mounted", async () => {
    const { clock, desk, end, state } = await answered("latchkey-fallback:/dev/vda");
    state.isAlive = false;
    await clock.advance(1000);
    expect(desk.end).toBeUndefined();
    state.isRootMounted = true;
    await clock.advance(100);
    expect(await end).toEqual({ kind: "answered" });
  });

  test("does not call all open that another program may have got a wrong answer for", async () => {
    await using scene = new Scene({ root: "good" });
    scene.foreign = [asks("cryptsetup:/dev/sdb", "/run/a")];
    scene.askersAreAlive = true;
    const desk = scene.desk();
    await desk.until(() => desk.state, never);
    await desk.answerAgent(secretOf("good"), never);
    const first = await desk.until(() => (desk.question?.by === "other" ? desk.question : undefined), never);
    using secret = secretOf("wrong");
    first?.answer(secret);
    await desk.until(() => (desk.state ? undefined : true), never); // the agent is done
    expect(desk.end).toBeUndefined();
    scene.foreign = [asks("cryptsetup:/dev/sdb", "/run/b")];
    expect(await desk.until(() => desk.question, never)).toMatchObject({ subject: first?.subject });
  });

  test("sees a question that is asked again as another one about the same", async () => {
    const foreign = [asks("cryptsetup:/dev/sdb", "/run/a")];
    const { clock, desk } = alone({ foreign });
    await clock.advance(100);
    const first = desk.question as Extract<Asked, { by: "other" }>;
    using secret = secretOf("wrong");
    first.answer(secret);
    foreign.splice(0, 1, asks("cryptsetup:/dev/sdb", "/run/b"));
    await clock.advance(500);
    const second = desk.question as Extract<Asked, { by: "other" }>;
    expect(second.subject).toBe(first.subject);
    expect(second.key).not.toBe(first.key);
  });

  test("waits for the system's own question after latchkey gave up", async () => {
    expect(WAIT_FOR_SYSTEM).toBeGreaterThan(5000);
    await using scene = new Scene({ root: "good" });
    const desk = scene.desk();
    await desk.until(() => desk.state, never);
    scene.heart.abort();
    await scene.running;
    await desk.until(() => (desk.state ? undefined : true), never);
    expect(desk.end).toBeUndefined();
    scene.foreign = [asks("latchkey-fallback:/dev/vda")];
    expect(await desk.until(() => desk.question, never)).toMatchObject({ by: "other" });
  });
});
