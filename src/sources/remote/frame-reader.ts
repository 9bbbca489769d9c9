import { SecretBytes } from "../../system/secret-bytes.ts";
import { FrameType, HEADER_SIZE, type Header, readHeader } from "./protocol.ts";

/** Where octets come from: 0 when none have come yet. */
export type Receive = (room: Uint8Array) => number | "ended";

export type Frame =
  | { readonly type: Exclude<FrameType, typeof FrameType.answer>; readonly body: Uint8Array }
  /** Whoever takes the frame takes over the scope of the secret. */
  | { readonly type: typeof FrameType.answer; readonly secret: SecretBytes };

interface Unfinished {
  readonly header: Header;
  readonly body: Uint8Array;
  /** Whose bytes `body` is, for an answer. */
  readonly secret: SecretBytes | undefined;
}

/**
 * Puts frames together from what comes in pieces. Room is taken only for a frame whose type and length are allowed, and that
 * of an answer is a SecretBytes: the kernel writes into it, and nothing else ever holds it.
 */
export class FrameReader implements Disposable {
  readonly #limits: Readonly<Record<number, number>>;
  readonly #header = new Uint8Array(HEADER_SIZE);
  /** Octets of the header, or of the body after it, that have come. */
  #have = 0;
  #frame: Unfinished | undefined;

  constructor(limits: Readonly<Record<number, number>>) {
    this.#limits = limits;
  }

  /** Part of a frame has come, and the rest has not. */
  get isInside(): boolean {
    return this.#have > 0 || this.#frame !== undefined;
  }

  /**
   * Reads on.
   * @returns a frame; "later" when nothing more has come yet; "ended" when nothing will; "invalid" for what may not be sent
   */
  next(receive: Receive): Frame | "later" | "ended" | "invalid" {
    for (;;) {
      const room = this.#frame?.body ?? this.#header;
      if (this.#have < room.length) {
        const received = receive(room.subarray(this.#have));
        if (received === "ended") return "ended";
        if (received === 0) return "later";
        this.#have += received;
        continue;
      }
      if (this.#frame) return this.#take(this.#frame);
      const header = readHeader(this.#header, this.#limits);
      if (!header) return "invalid";
      const secret = header.type === FrameType.answer ? SecretBytes.allocate(header.length) : undefined;
      this.#frame = { header, secret, body: secret?.bytes ?? new Uint8Array(header.length) };
      this.#have = 0;
    }
  }

  #take({ header, body, secret }: Unfinished): Frame {
    this.#frame = undefined;
    this.#have = 0;
    if (secret) return { type: FrameType.answer, secret };
    return { type: header.type as Exclude<FrameType, typeof FrameType.answer>, body };
  }

  /** Wipes what has come of an answer. */
  [Symbol.dispose](): void {
    this.#frame?.secret?.[Symbol.dispose]();
    this.#frame = undefined;
    this.#have = 0;
  }
}
