import type { SecretBytes } from "../../system/secret-bytes.ts";
import { FrameReader } from "./frame-reader.ts";
import { type Hello, parseHello } from "./messages.ts";
import { FrameType, fromClient, PROTOCOL_VERSION } from "./protocol.ts";

/** What a session needs of its connection. */
export interface Connection extends Disposable {
  receive(room: Uint8Array): number | "ended";
  sendPlain(bytes: Uint8Array): number | "ended";
}

/** Milliseconds a client has to say hello, to finish a frame that it began, and to take what waits for it. */
const HELLO_LIMIT = 5_000;
const FRAME_LIMIT = 5_000;
const STALL_LIMIT = 10_000;

/** Frames taken from one client in one turn, so that a flood does not keep the others waiting. */
const FRAMES_AT_ONCE = 4;

/** Octets that may wait for a client. */
const MOST_WAITING = 1024 * 1024;

export interface SessionEvents {
  hello(session: Session): void;
  /** Takes over the scope of the secret. */
  answer(session: Session, secret: SecretBytes): void;
}

/** One client on the agent's side. It is not trusted to read, to write, or to end. */
export class Session implements Disposable {
  /** Undefined until it has greeted. */
  hello: Hello | undefined;
  /** An answer of this session is being tried, or waits for its turn. */
  isBusy = false;
  /** Answers in a row that were wrong. */
  wrongAnswers = 0;
  /** When the next answer may be tried. */
  notBefore = 0;
  /** When it last did something that a person does. */
  lastActive: number;
  isClosed = false;
  readonly #connection: Connection;
  readonly #reader = new FrameReader(fromClient);
  readonly #since: number;
  readonly #events: SessionEvents;
  #insideSince: number | undefined;
  #waiting: Uint8Array[] = [];
  /** The newest state, held back while older frames wait: of several only the last is of interest. */
  #heldState: Uint8Array | undefined;
  #stalledSince: number | undefined;

  constructor(connection: Connection, now: number, events: SessionEvents) {
    this.#connection = connection;
    this.#since = now;
    this.lastActive = now;
    this.#events = events;
  }

  /** Reads and writes what can be read and written now. @returns false when the session is over */
  turn(now: number): boolean {
    return this.#read(now) && this.#write(now) && this.#isInTime(now);
  }

  send(frame: Uint8Array): void {
    this.#waiting.push(frame);
  }

  sendState(frame: Uint8Array): void {
    this.#heldState = frame;
  }

  /** Nothing waits to be sent. */
  get isDrained(): boolean {
    return this.#waiting.length === 0 && this.#heldState === undefined;
  }

  #read(now: number): boolean {
    for (let taken = 0; taken < FRAMES_AT_ONCE; taken += 1) {
      const frame = this.#reader.next((room) => this.#connection.receive(room));
      if (frame === "later") break;
      if (frame === "ended" || frame === "invalid") return false;
      if (frame.type === FrameType.answer) {
        // One at a time, and not before a greeting: a client of ours does neither.
        if (!this.hello || this.isBusy) {
          frame.secret[Symbol.dispose]();
          return false;
        }
        this.lastActive = now;
        this.#events.answer(this, frame.secret);
      } else if (!this.#greet(frame.body)) {
        return false;
      }
    }
    this.#insideSince = this.#reader.isInside ? (this.#insideSince ?? now) : undefined;
    return true;
  }

  #greet(body: Uint8Array): boolean {
    const hello = parseHello(body);
    if (this.hello || hello?.version !== PROTOCOL_VERSION) return false;
    this.hello = hello;
    this.#events.hello(this);
    return true;
  }

  #write(now: number): boolean {
    if (this.#waiting.length === 0 && this.#heldState) {
      this.#waiting.push(this.#heldState);
      this.#heldState = undefined;
    }
    let [first] = this.#waiting;
    while (first) {
      const sent = this.#connection.sendPlain(first);
      if (sent === "ended") return false;
      if (sent > 0) this.#stalledSince = undefined;
      if (sent < first.length) {
        this.#waiting[0] = first.subarray(sent);
        this.#stalledSince ??= now;
        break;
      }
      this.#waiting.shift();
      [first] = this.#waiting;
    }
    if (!first) this.#stalledSince = undefined;
    return this.#waiting.reduce((sum, frame) => sum + frame.length, 0) <= MOST_WAITING;
  }

  #isInTime(now: number): boolean {
    if (!this.hello && now - this.#since > HELLO_LIMIT) return false;
    if (this.#insideSince !== undefined && now - this.#insideSince > FRAME_LIMIT) return false;
    return this.#stalledSince === undefined || now - this.#stalledSince <= STALL_LIMIT;
  }

  [Symbol.dispose](): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.#reader[Symbol.dispose]();
    this.#connection[Symbol.dispose]();
  }
}
