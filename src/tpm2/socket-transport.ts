import type { Socket } from "bun";
import { LatchkeyError } from "../system/errors.ts";
import { brokenAnswer, HEADER_BYTES, orAborted, statedSize, type TpmTransport } from "./transport.ts";
import { MAX_MESSAGE_BYTES } from "./wire.ts";

/** Milliseconds for a connection: both kinds of socket are on this machine or next to it. */
const CONNECT_LIMIT = 5_000;

/** Where swtpm listens for commands (its `--server`); its control channel is not needed. */
export type SocketAddress =
  | { readonly kind: "tcp"; readonly host: string; readonly port: number }
  | { readonly kind: "unix"; readonly path: string };

/**
 * Connects to a software TPM. It serves one connection at a time; a second one waits in silence, which the time limit of
 * its first command ends.
 * @throws LatchkeyError tpm2/unreachable; the signal's reason
 */
export async function openSocket(address: SocketAddress, name: string, signal: AbortSignal): Promise<TpmTransport> {
  signal.throwIfAborted();
  const transport = new SocketTransport(name);
  const handlers = {
    binaryType: "uint8array" as const,
    data: (_: Socket, data: Uint8Array) => transport.take(data),
    drain: () => transport.push(),
    end: () => transport.lose("it closed the connection"),
    close: () => transport.lose("it closed the connection"),
    error: (_: Socket, error: Error) => transport.lose(reasonOf(error)),
    connectError: () => undefined, // the promise of Bun.connect says it
  };
  const connecting =
    address.kind === "unix"
      ? Bun.connect({ unix: address.path, socket: handlers })
      : Bun.connect({ hostname: address.host, port: address.port, socket: handlers });
  // One that is connected only after nobody waits any more is closed.
  connecting.then(
    (socket) => transport.attach(socket),
    () => undefined,
  );
  const limit = AbortSignal.timeout(CONNECT_LIMIT);
  try {
    await orAborted(connecting, AbortSignal.any([signal, limit]));
    return transport;
  } catch (error) {
    transport.close();
    signal.throwIfAborted();
    const why = limit.aborted ? `no connection within ${CONNECT_LIMIT / 1000} s` : reasonOf(error);
    throw new LatchkeyError("tpm2/unreachable", `${name}: ${why}`, { cause: error, hint: "is swtpm running there?" });
  }
}

function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return code === undefined ? String(message) : `it cannot be reached (${code})`;
}

/** Collects the answer to one command from whatever pieces the socket delivers. */
class SocketTransport implements TpmTransport {
  readonly name: string;
  #socket: Socket | undefined;
  #closed = false;
  /** Why there is nothing more to be had; made into an error when somebody is told. */
  #lost: (() => LatchkeyError) | undefined;
  #unsent = new Uint8Array();
  #waiting: PromiseWithResolvers<Uint8Array> | undefined;
  readonly #room = new Uint8Array(MAX_MESSAGE_BYTES);
  #got = 0;

  constructor(name: string) {
    this.name = name;
  }

  attach(socket: Socket): void {
    this.#socket = socket;
    if (this.#closed) socket.terminate();
  }

  transmit(command: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    if (this.#lost) return Promise.reject(this.#lost());
    const waiting = Promise.withResolvers<Uint8Array>();
    waiting.promise.catch(() => undefined);
    this.#waiting = waiting;
    this.#got = 0;
    this.#unsent = new Uint8Array(command);
    this.push();
    return orAborted(waiting.promise, signal);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.lose("it was closed");
    this.#socket?.terminate();
  }

  /** Sends what the socket takes; the rest follows when it has room again. */
  push(): void {
    if (!this.#socket || this.#unsent.length === 0) return;
    const sent = this.#socket.write(this.#unsent);
    if (sent < 0) this.lose("it closed the connection");
    else this.#unsent = this.#unsent.subarray(sent);
  }

  take(data: Uint8Array): void {
    try {
      this.#collect(data);
    } catch (error) {
      this.#fail(() => error as LatchkeyError);
    }
  }

  #collect(data: Uint8Array): void {
    if (!this.#waiting) throw this.#fault("it sent something that nobody asked for");
    if (data.length > this.#room.length - this.#got) throw this.#fault("it sent more than any answer has");
    this.#room.set(data, this.#got);
    this.#got += data.length;
    if (this.#got < HEADER_BYTES) return;
    const size = statedSize(this.#room, this.name);
    if (this.#got > size) throw brokenAnswer(this.name, this.#got, size);
    if (this.#got < size) return;
    this.#waiting.resolve(this.#room.slice(0, this.#got));
    this.#waiting = undefined;
  }

  lose(why: string): void {
    this.#fail(() => new LatchkeyError("tpm2/unreachable", `${this.name}: ${why}`));
  }

  #fault(why: string): LatchkeyError {
    return new LatchkeyError("tpm2/bad-answer", `${this.name}: ${why}`);
  }

  #fail(error: () => LatchkeyError): void {
    this.#lost ??= error;
    this.#waiting?.reject(this.#lost());
    this.#waiting = undefined;
  }
}
