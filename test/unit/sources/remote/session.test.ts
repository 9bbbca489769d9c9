import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { AgentClient } from "../../../../src/sources/remote/agent-client.ts";
import { helloFrame, stateFrame, stateOf, verdictFrame } from "../../../../src/sources/remote/messages.ts";
import { FrameType, header } from "../../../../src/sources/remote/protocol.ts";
import { Session } from "../../../../src/sources/remote/session.ts";

/** A connection by hand: what was written to it can be read from it, as much at a time as the test says. */
class Wire {
  #arrived: number[] = [];
  readonly written: Buffer[] = [];
  takes = Number.POSITIVE_INFINITY;
  piece = Number.POSITIVE_INFINITY;
  isDisposed = false;

  arrive(bytes: Uint8Array): void {
    this.#arrived.push(...bytes);
  }

  receive(room: Uint8Array): number | "ended" {
    const bytes = this.#arrived.splice(0, Math.min(room.length, this.piece));
    room.set(bytes);
    return bytes.length;
  }

  sendPlain(bytes: Uint8Array): number | "ended" {
    const taken = Math.min(bytes.length, this.takes);
    this.written.push(Buffer.from(bytes.subarray(0, taken)));
    return taken;
  }

  send(): number {
    return 0;
  }

  [Symbol.dispose](): void {
    this.isDisposed = true;
  }
}

const state = stateOf({ volumes: [], failures: [] }, { host: "h", now: 0, isQuestionTime: true, closed: [] });

function begun(): { wire: Wire; session: Session; answers: string[] } {
  const wire = new Wire();
  const answers: string[] = [];
  const session = new Session(wire, 0, {
    hello: () => undefined,
    answer: (_, secret) => {
      using taken = secret;
      answers.push(new TextDecoder().decode(taken.bytes));
    },
  });
  return { wire, session, answers };
}

describe("a session on the agent's side", () => {
  test("is over when nobody greets in time", () => {
    const { session } = begun();
    expect(session.turn(5000)).toBe(true);
    expect(session.turn(5001)).toBe(false);
  });

  test("is over when a frame is begun and not finished in time, and not when nothing is begun", () => {
    const { session, wire } = begun();
    wire.arrive(helloFrame("x"));
    expect(session.turn(0)).toBe(true);
    expect(session.turn(1_000_000)).toBe(true);
    wire.arrive(new Uint8Array([FrameType.answer, 4]));
    expect(session.turn(1_000_000)).toBe(true);
    expect(session.turn(1_005_000)).toBe(true);
    expect(session.turn(1_005_001)).toBe(false);
  });

  test("is over when what waits for it is not taken in time", () => {
    const { session, wire } = begun();
    wire.arrive(helloFrame("x"));
    wire.takes = 3;
    session.send(verdictFrame({ kind: "empty", opened: [], failed: [], wait: 0 }));
    expect(session.turn(0)).toBe(true);
    wire.takes = 0;
    expect(session.turn(1)).toBe(true);
    expect(session.turn(10_000)).toBe(true);
    expect(session.turn(10_001)).toBe(false);
  });

  test("is over when too much waits for it", () => {
    const { session, wire } = begun();
    wire.takes = 0;
    wire.arrive(helloFrame("x"));
    for (let count = 0; count < 17; count += 1) session.send(new Uint8Array(65_536));
    expect(session.turn(0)).toBe(false);
  });

  test("of states that wait only the newest is sent", () => {
    const { session, wire } = begun();
    wire.arrive(helloFrame("x"));
    wire.takes = 0;
    session.send(new Uint8Array([0]));
    for (const now of [1, 2, 3]) session.sendState(stateFrame({ ...state, now }));
    expect(session.turn(0)).toBe(true);
    wire.takes = Number.POSITIVE_INFINITY;
    expect(session.turn(0)).toBe(true);
    expect(session.turn(0)).toBe(true);
    const sent = Buffer.concat(wire.written).toString();
    expect(sent).toContain('"now":3');
    expect(sent).not.toContain('"now":2');
  });

  test("puts an answer together however it comes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.integer({ min: 1, max: 64 }), (answer, piece) => {
        const { session, wire, answers } = begun();
        const text = Buffer.from(answer).toString("hex");
        wire.piece = piece;
        wire.arrive(Buffer.concat([helloFrame("x"), header(FrameType.answer, text.length), Buffer.from(text)]));
        for (let turn = 0; turn < 500 && answers.length === 0; turn += 1) expect(session.turn(0)).toBe(true);
        expect(answers).toEqual([text]);
      }),
    );
  });

  test("survives any octets", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 20 }), (pieces) => {
        const { session, wire } = begun();
        for (const [now, piece] of pieces.entries()) {
          wire.arrive(piece);
          session.turn(now);
        }
        session[Symbol.dispose]();
        expect(wire.isDisposed).toBe(true);
      }),
    );
  });
});

describe("a session's own side", () => {
  test("survives any octets of an agent", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), fc.constantFrom(16, 17, 18), (octets, type) => {
        const wire = new Wire();
        wire.arrive(Buffer.concat([header(type as FrameType, octets.length), octets]));
        const client = new AgentClient(wire, undefined);
        client.turn();
        client.turn();
        expect(client.finished).toBeUndefined();
      }),
    );
  });

  test("hangs up on an agent that announces more than a frame may have", () => {
    const wire = new Wire();
    wire.arrive(header(FrameType.state, 0x7fffffff));
    const client = new AgentClient(wire, undefined);
    client.turn();
    expect(client.isOver).toBe(true);
  });
});
