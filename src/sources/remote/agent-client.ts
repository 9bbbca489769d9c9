import type { SecretBytes } from "../../system/secret-bytes.ts";
import { FrameReader } from "./frame-reader.ts";
import {
  type Finished,
  helloFrame,
  parseFinished,
  parseState,
  parseVerdict,
  type State,
  type Verdict,
} from "./messages.ts";
import { FrameType, fromAgent, header } from "./protocol.ts";
import type { Connection } from "./session.ts";

/** What a client needs of its connection to the agent. */
export interface AgentConnection extends Connection {
  /** @throws LatchkeyError when the other side is gone */
  send(secret: SecretBytes, offset: number): number;
}

const FRAMES_AT_ONCE = 16;

/** A session's end of the agent's socket. Nothing here waits: `turn` is called again and again. */
export class AgentClient implements Disposable {
  state: State | undefined;
  finished: Finished | undefined;
  #verdict: Verdict | undefined;
  #isOver = false;
  readonly #connection: AgentConnection;
  readonly #reader = new FrameReader(fromAgent);
  #plain: Uint8Array;
  #answer: { readonly secret: SecretBytes; sent: number } | undefined;

  /**
   * Takes over the connection.
   * @param from where the session comes from, for the report
   */
  constructor(connection: AgentConnection, from: string | undefined) {
    this.#connection = connection;
    this.#plain = helloFrame(from);
  }

  /** The agent is gone, with or without a farewell. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** The verdict on the last answer, once; undefined while it is being tried. */
  takeVerdict(): Verdict | undefined {
    const verdict = this.#verdict;
    this.#verdict = undefined;
    return verdict;
  }

  /** Takes over the scope of the secret. One at a time: the next after the verdict. */
  answer(secret: SecretBytes): void {
    this.#answer?.secret[Symbol.dispose]();
    this.#verdict = undefined;
    this.#plain = concatenated(this.#plain, header(FrameType.answer, secret.length));
    this.#answer = { secret, sent: 0 };
  }

  /** Reads and writes what can be read and written now. */
  turn(): void {
    if (this.#isOver) return;
    try {
      if (!this.#write() || !this.#read()) this.#end();
    } catch {
      this.#end();
    }
  }

  #write(): boolean {
    if (this.#plain.length > 0) {
      const sent = this.#connection.sendPlain(this.#plain);
      if (sent === "ended") return this.#read() && false; // what it said last may still be there
      this.#plain = this.#plain.subarray(sent);
    }
    if (this.#plain.length > 0 || !this.#answer) return true;
    const { secret } = this.#answer;
    if (this.#answer.sent < secret.length) this.#answer.sent += this.#connection.send(secret, this.#answer.sent);
    if (this.#answer.sent < secret.length) return true;
    secret[Symbol.dispose]();
    this.#answer = undefined;
    return true;
  }

  #read(): boolean {
    for (let taken = 0; taken < FRAMES_AT_ONCE; taken += 1) {
      const frame = this.#reader.next((room) => this.#connection.receive(room));
      if (frame === "later") return true;
      if (frame === "ended" || frame === "invalid" || frame.type === FrameType.answer) return false;
      if (frame.type === FrameType.state) this.state = parseState(frame.body) ?? this.state;
      else if (frame.type === FrameType.verdict) this.#verdict = parseVerdict(frame.body);
      else if (frame.type === FrameType.finished) this.finished = parseFinished(frame.body);
    }
    return true;
  }

  #end(): void {
    this.#isOver = true;
    this[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    this.#isOver = true;
    this.#answer?.secret[Symbol.dispose]();
    this.#answer = undefined;
    this.#reader[Symbol.dispose]();
    this.#connection[Symbol.dispose]();
  }
}

function concatenated(first: Uint8Array, second: Uint8Array): Uint8Array {
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}
