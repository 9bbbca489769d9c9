import { describe, expect, test } from "bun:test";
import { chmodSync, statSync } from "node:fs";
import { MOST_SESSIONS } from "../../../../src/sources/remote/agent.ts";
import { helloFrame } from "../../../../src/sources/remote/messages.ts";
import { FrameType, header } from "../../../../src/sources/remote/protocol.ts";
import { pauseAfter } from "../../../../src/sources/remote/remote-source.ts";
import type { StreamConnection } from "../../../../src/system/unix-stream.ts";
import { Scene, secretOf, until } from "./scene.ts";

/** Reads until the agent hangs up; what it sent before is of no interest. */
async function hungUp(connection: StreamConnection): Promise<boolean> {
  const room = new Uint8Array(65536);
  for (let tries = 0; tries < 1500; tries += 1) {
    if (connection.receive(room) === "ended") return true;
    await Bun.sleep(5);
  }
  return false;
}

describe("an agent that alone still asks", () => {
  const isOver = async (work: Promise<void>): Promise<boolean> =>
    await Promise.race([work.then(() => true), Bun.sleep(300).then(() => false)]);

  test("waits for the session of a person, and for nobody when others declined", async () => {
    await using scene = new Scene({ root: "good" });
    const client = scene.client();
    await until(client, () => client.state);
    const deserted = scene.source.deserted(true);
    expect(await isOver(deserted)).toBe(false);
    client[Symbol.dispose]();
    await deserted;
  });

  test("waits for a person to come where nobody could be asked, unless nobody can come", async () => {
    await using open = new Scene({ root: "good" });
    await using shut = new Scene({ root: "good" }, { trouble: "no network" });
    expect(await isOver(open.source.deserted(false))).toBe(false);
    await shut.source.deserted(false);
  });
});

describe("an answer from afar", () => {
  test("is told wrong, then right, and the session hears the end", async () => {
    await using scene = new Scene({ root: "good" });
    const client = scene.client();
    const state = await until(client, () => client.state);
    expect(state).toMatchObject({
      host: "server1",
      isQuestionTime: true,
      closed: ["root"],
      volumes: [{ name: "root", standing: "closed", description: "disk of root" }],
    });
    client.answer(secretOf("bad"));
    expect(await until(client, () => client.takeVerdict())).toEqual({
      kind: "tried",
      opened: [],
      failed: [{ name: "root", isWrong: true, reason: "root: wrong passphrase" }],
      wait: 0,
    });
    client.answer(secretOf("good"));
    expect(await until(client, () => client.takeVerdict())).toMatchObject({
      kind: "tried",
      opened: ["root"],
      failed: [],
    });
    expect(await until(client, () => client.finished)).toEqual({ isOpen: true, lines: [] });
    await scene.running;
    expect(scene.heart.notes).toEqual(["answer from 192.0.2.9: wrong", "answer from 192.0.2.9: opened root"]);
  });

  test("may open one volume and be wrong for another", async () => {
    await using scene = new Scene({ root: "one", data: "two" });
    const client = scene.client();
    client.answer(secretOf("one"));
    const verdict = await until(client, () => client.takeVerdict());
    expect(verdict).toMatchObject({ opened: ["root"], failed: [{ name: "data", isWrong: true }], wait: 0 });
    expect((await until(client, () => (client.state?.closed.length === 1 ? client.state : undefined))).closed).toEqual([
      "data",
    ]);
  });

  test("is not tried while the automatic sources are at it, and is when they have failed", async () => {
    await using scene = new Scene({ root: "good" }, { start: "fallback" });
    const client = scene.client();
    expect((await until(client, () => client.state)).isQuestionTime).toBe(false);
    expect(scene.doors).toEqual([]);
    client.answer(secretOf("good"));
    expect(await until(client, () => client.takeVerdict())).toMatchObject({ kind: "too-early" });
    expect(scene.heart.offered).toEqual([]);
    scene.heart.askNow();
    await until(client, () => client.state?.isQuestionTime || undefined);
    expect(scene.doors).toEqual(["open"]);
    client.answer(secretOf("good"));
    expect(await until(client, () => client.takeVerdict())).toMatchObject({ opened: ["root"] });
  });

  test("that is empty is not tried", async () => {
    await using scene = new Scene({ root: "good" });
    const client = scene.client();
    client.answer(secretOf(""));
    expect(await until(client, () => client.takeVerdict())).toMatchObject({ kind: "empty" });
    expect(scene.heart.offered).toEqual([]);
  });

  test("ends the other sessions too, and so does an answer elsewhere", async () => {
    await using scene = new Scene({ root: "good" });
    const [one, other] = [scene.client(), scene.client()];
    await until(one, () => one.state);
    await until(other, () => other.state);
    one.answer(secretOf("good"));
    await until(one, () => one.finished);
    expect(await until(other, () => other.finished)).toEqual({ isOpen: true, lines: [] });
    await using second = new Scene({ root: "good" });
    const waiting = second.client();
    await until(waiting, () => waiting.state);
    second.heart.opens("root");
    expect(await until(waiting, () => waiting.finished)).toEqual({ isOpen: true, lines: [] });
  });

  test("finds out when latchkey gives up", async () => {
    await using scene = new Scene({ root: "good" });
    const client = scene.client();
    await until(client, () => client.state);
    scene.heart.abort();
    expect(await until(client, () => client.finished)).toEqual({ isOpen: false, lines: ["root: not opened"] });
  });

  test("changes of others reach the session", async () => {
    await using scene = new Scene({ root: "good" });
    const client = scene.client();
    await until(client, () => client.state);
    scene.heart.failures.push({ at: 12, source: "clevis", volume: undefined, reason: "PCR 7 differs" });
    const told = await until(client, () => (client.state?.failures.length === 1 ? client.state : undefined));
    expect(told.failures).toEqual([{ at: 12, source: "clevis", volume: null, reason: "PCR 7 differs" }]);
  });
});

describe("wrong answers", () => {
  test("cost a growing pause, with an end", () => {
    expect([0, 1, 2, 3, 4, 5, 6, 7, 100].map(pauseAfter)).toEqual([0, 0, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
  });

  test("of many sessions are tried one after the other, and the second of one session later", async () => {
    await using scene = new Scene({ root: "good" });
    scene.heart.takes = 20;
    const clients = Array.from({ length: 5 }, () => scene.client());
    for (const client of clients) client.answer(secretOf("bad"));
    await Promise.all(clients.map((client) => until(client, () => client.takeVerdict())));
    expect(scene.heart.offered.length).toBe(5);
    expect(scene.heart.atOnce).toBe(1);
    const [first = scene.client()] = clients;
    first.answer(secretOf("bad"));
    expect(await until(first, () => first.takeVerdict())).toMatchObject({ wait: 1000 });
  });
});

describe("the socket", () => {
  test("is its owner's alone", async () => {
    await using scene = new Scene({ root: "good" });
    expect(statSync(scene.socket).mode & 0o777).toBe(0o600);
  });

  test("hangs up on another user", async () => {
    await using scene = new Scene({ root: "good" }, { trusted: new Set([4242]) });
    chmodSync(scene.socket, 0o666);
    const client = scene.client();
    await until(client, () => client.isOver || undefined);
    expect(client.state).toBeUndefined();
  });

  test.each<[string, Uint8Array]>([
    ["an answer before the greeting", Buffer.concat([header(FrameType.answer, 4), Buffer.from("good")])],
    ["a greeting that is no JSON", new Uint8Array([FrameType.hello, 2, 0, 0, 0, 0x7b, 0xff])],
    ["another version", new TextEncoder().encode(`\x01\x1c\x00\x00\x00{"version":99,"from":null}  `)],
    ["a type that only the agent sends", header(FrameType.state, 4)],
    ["a type that there is not", header(99 as FrameType, 4)],
    ["an answer longer than an answer may be", Buffer.concat([helloFrame("x"), header(FrameType.answer, 4095)])],
    ["a length of four gigabytes", header(FrameType.hello, 0xffffffff)],
    ["a second greeting", Buffer.concat([helloFrame("x"), helloFrame("x")])],
  ])("hangs up on %s", async (_, octets) => {
    await using scene = new Scene({ root: "good" });
    const connection = scene.connect();
    connection.sendPlain(octets);
    expect(await hungUp(connection)).toBe(true);
    const client = scene.client();
    await until(client, () => client.state); // the agent is well
  });

  test("hangs up on a second answer while the first is tried", async () => {
    await using scene = new Scene({ root: "good" });
    scene.heart.takes = 200;
    const connection = scene.connect();
    const answer = Buffer.concat([header(FrameType.answer, 3), Buffer.from("bad")]);
    connection.sendPlain(Buffer.concat([helloFrame("x"), answer, answer]));
    expect(await hungUp(connection)).toBe(true);
  });

  test("takes a frame that comes octet by octet", async () => {
    await using scene = new Scene({ root: "good" });
    const connection = scene.connect();
    const octets = Buffer.concat([helloFrame("x"), header(FrameType.answer, 4), Buffer.from("good")]);
    for (const octet of octets) {
      connection.sendPlain(new Uint8Array([octet]));
      await Bun.sleep(1);
    }
    await scene.running;
    expect(scene.heart.offered).toEqual(["good"]);
  });

  test("lets a person in while hundreds of connections send nothing", async () => {
    await using scene = new Scene({ root: "good" });
    let silent = 0;
    for (let tries = 0; tries < 4000 && silent < 200; tries += 1) {
      try {
        scene.connect();
        silent += 1;
      } catch {
        await Bun.sleep(5); // the queue before the door is full
      }
    }
    expect(silent).toBe(200);
    let client: ReturnType<Scene["client"]> | undefined;
    for (let tries = 0; tries < 100 && !client; tries += 1) {
      try {
        client = scene.client();
      } catch {
        await Bun.sleep(20);
      }
    }
    if (!client) throw new Error("nobody gets in");
    const person = client;
    await until(person, () => person.state);
    person.answer(secretOf("good"));
    expect(await until(person, () => person.takeVerdict())).toMatchObject({ opened: ["root"] });
  });

  test("keeps a session whose answer is being tried when all places are taken", async () => {
    await using scene = new Scene({ root: "good" });
    scene.heart.takes = 1500;
    const busy = scene.client();
    await until(busy, () => busy.state);
    busy.answer(secretOf("bad"));
    busy.turn();
    await Bun.sleep(100);
    const others = [];
    for (let count = 0; count < MOST_SESSIONS + 5; count += 1) {
      const other = scene.client();
      await until(other, () => other.state);
      others.push(other);
    }
    expect(await until(busy, () => busy.takeVerdict())).toMatchObject({ kind: "tried" });
    for (const other of others) other.turn();
    expect(others.filter((other) => other.isOver).length).toBeGreaterThanOrEqual(5);
  });

  test("a session that dies in the middle of an answer harms nobody", async () => {
    await using scene = new Scene({ root: "good" });
    const connection = scene.connect();
    connection.sendPlain(Buffer.concat([helloFrame("x"), header(FrameType.answer, 4), Buffer.from("go")]));
    await Bun.sleep(50);
    connection[Symbol.dispose]();
    const client = scene.client();
    await until(client, () => client.state);
    client.answer(secretOf("good"));
    expect(await until(client, () => client.takeVerdict())).toMatchObject({ opened: ["root"] });
    expect(scene.heart.offered).toEqual(["good"]);
  });
});
