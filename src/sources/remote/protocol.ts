/**
 * What runs over /run/latchkey/agent.sock: frames of a type, a length and that many octets. Only an answer carries a secret,
 * and only from the client to the agent; everything else is JSON without secrets (messages.ts).
 *
 *     octet 0     type
 *     octets 1-4  length of what follows, little-endian
 *
 * The first frame of a client is `hello`. A client that sends anything else, or more than it may, is hung up on.
 */

/** Raised when a frame changes its meaning; both sides are the same binary, except across an update of a running initrd. */
export const PROTOCOL_VERSION = 1;

export const HEADER_SIZE = 5;

export const FrameType = {
  /** Client: JSON, the version and where the session comes from. */
  hello: 1,
  /** Client: a passphrase, as it is. */
  answer: 2,
  /** Agent: JSON, how things stand; sent again when that changes. */
  state: 16,
  /** Agent: JSON, what became of this client's answer. */
  verdict: 17,
  /** Agent: JSON, the last frame. */
  finished: 18,
} as const;

export type FrameType = (typeof FrameType)[keyof typeof FrameType];

/** As many octets as a frame of each type may have; of a type that is not here none may come. */
export const fromClient: Readonly<Record<number, number>> = {
  [FrameType.hello]: 512,
  [FrameType.answer]: 4094, // as at every question, LONGEST_ANSWER in src/system/ask-password/asker.ts
};

export const fromAgent: Readonly<Record<number, number>> = {
  [FrameType.state]: 512 * 1024,
  [FrameType.verdict]: 256 * 1024,
  [FrameType.finished]: 64 * 1024,
};

export interface Header {
  readonly type: FrameType;
  readonly length: number;
}

/** @returns undefined for a type that the other side may not send, or a length above its limit */
export function readHeader(bytes: Uint8Array, limits: Readonly<Record<number, number>>): Header | undefined {
  if (bytes.length < HEADER_SIZE) return undefined;
  const type = bytes[0] ?? 0;
  const length = new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getUint32(1, true);
  const limit = Object.hasOwn(limits, type) ? limits[type] : undefined;
  return limit === undefined || length > limit ? undefined : { type: type as FrameType, length };
}

export function header(type: FrameType, length: number): Uint8Array {
  const bytes = new Uint8Array(HEADER_SIZE);
  bytes[0] = type;
  new DataView(bytes.buffer).setUint32(1, length, true);
  return bytes;
}

/** A whole frame of JSON. */
export function jsonFrame(type: FrameType, value: unknown): Uint8Array {
  const body = new TextEncoder().encode(JSON.stringify(value));
  const frame = new Uint8Array(HEADER_SIZE + body.length);
  frame.set(header(type, body.length));
  frame.set(body, HEADER_SIZE);
  return frame;
}
