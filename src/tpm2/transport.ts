import { LatchkeyError } from "../system/errors.ts";
import { MAX_MESSAGE_BYTES } from "./wire.ts";

/** Octets of a command's or response's header: tag, size, code (TPM 2.0 Part 1 section 18). */
export const HEADER_BYTES = 10;
const SIZE_OFFSET = 2;

/**
 * A way to one TPM: takes a command, brings the response. Knows sizes and time, nothing of what is inside. What crosses
 * here can be read on the bus, so secrets are encrypted by a session before (session.ts).
 */
export interface TpmTransport {
  /** For messages: `/dev/tpmrm0`. */
  readonly name: string;
  /**
   * Sends one command and brings its response, complete by its own size field. One at a time. When the signal is aborted
   * before the response is there, the transport is out of step and can only be closed.
   * @throws LatchkeyError tpm2/unreachable, tpm2/busy, tpm2/bad-answer; the signal's reason after an abort
   */
  transmit(command: Uint8Array, signal: AbortSignal): Promise<Uint8Array>;
  /** Ends the connection. Never throws; a second call does nothing. */
  close(): void;
}

/**
 * The whole size that a response's header states.
 * @throws LatchkeyError tpm2/bad-answer when it cannot be one
 */
export function statedSize(start: Uint8Array, name: string): number {
  const size = new DataView(start.buffer, start.byteOffset, start.length).getUint32(SIZE_OFFSET);
  if (size < HEADER_BYTES || size > MAX_MESSAGE_BYTES) {
    throw new LatchkeyError("tpm2/bad-answer", `${name}: an answer claims to have ${size} bytes`);
  }
  return size;
}

/** The answer ended too early, or too late: what is there is not one response. */
export function brokenAnswer(name: string, got: number, stated: number): LatchkeyError {
  return new LatchkeyError("tpm2/bad-answer", `${name}: an answer of ${stated} bytes came with ${got}`);
}

/** `promise`, or the signal's reason as soon as it is aborted. */
export function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason);
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
