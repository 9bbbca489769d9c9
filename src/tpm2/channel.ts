import { type Clock, monotonicClock } from "../system/clock.ts";
import { LatchkeyError } from "../system/errors.ts";
import { commands, decodeAnswer, encodeCommand, type TpmAnswer, type TpmCommand } from "./commands.ts";
import { isRetry, TpmResponseError } from "./response-codes.ts";
import type { TpmTransport } from "./transport.ts";
import { concat, hexCode, u16, u32 } from "./wire.ts";

/** How patient latchkey is with a TPM, in milliseconds. */
export interface TpmLimits {
  /** For the answer to a command. A TPM busy with its self-test, or with another program's RSA key, takes seconds. */
  readonly command: number;
  /** For the answer to a command that makes a key: slow RSA on a slow TPM (TPM2_DURATION_LONG_LONG of Linux is 300 s). */
  readonly keyGeneration: number;
  /** In all, for a TPM that asks to send a command again. Linux retries for two minutes more below /dev/tpmrm0. */
  readonly retry: number;
  /** For the way out: the command at work, then flushing. */
  readonly close: number;
}

export const defaultLimits: TpmLimits = { command: 30_000, keyGeneration: 120_000, retry: 10_000, close: 5_000 };

/** Why the clock need not run on. Without a reason Bun makes an error for each, which takes as long as half a command. */
const DONE = "done";

const FIRST_RETRY_PAUSE = 10;
const LONGEST_RETRY_PAUSE = 500;

/** What goes with a command that needs authorization, and checks what comes back with the answer. */
export interface Authorization {
  /** TPMS_AUTH_COMMAND for this command, TPM 2.0 Part 2 section 10.13. */
  authorize(command: TpmCommand): Uint8Array;
  /** @throws LatchkeyError when the answer does not prove itself */
  verify(command: TpmCommand, answer: TpmAnswer): void;
}

/** The password session with the empty password (Part 1 section 19): its answers prove nothing. */
const emptyPassword: Authorization = {
  authorize: () => concat(u32(0x40000009), u16(0), Uint8Array.of(0), u16(0)),
  verify: () => undefined,
};

/** Handle types that a command may give us and that have to be flushed, Part 2 section 7.2. */
const flushableTypes = [0x02, 0x03, 0x80];

/**
 * One open connection: commands one after the other, each with its time limit; commands the TPM put off are sent again;
 * every handle it gave is remembered until it is flushed. After a broken exchange nothing more is sent.
 */
export class TpmChannel {
  readonly #transport: TpmTransport;
  readonly #limits: TpmLimits;
  readonly #clock: Clock;
  readonly #handles = new Set<number>();
  #broken: LatchkeyError | undefined;
  #isClosed = false;
  /** Settles when what is being freed beside is freed. Never rejects. */
  #flushing: Promise<void> = Promise.resolve();

  constructor(transport: TpmTransport, limits: TpmLimits = defaultLimits, clock: Clock = monotonicClock) {
    this.#transport = transport;
    this.#limits = limits;
    this.#clock = clock;
  }

  /** Why nothing more can be sent; undefined while all is well. */
  get broken(): LatchkeyError | undefined {
    if (this.#isClosed)
      this.#broken ??= new LatchkeyError("tpm2/unreachable", `${this.#transport.name}: it was closed`);
    return this.#broken;
  }

  get clock(): Clock {
    return this.#clock;
  }

  /**
   * Runs one command. A command that was sent is awaited also when the signal is aborted meanwhile, so that what it left
   * in the TPM is known and can be flushed; who does not want to wait for that waits beside it (tpm.ts).
   * @throws TpmResponseError when the TPM refused it; LatchkeyError tpm2/timed-out, tpm2/bad-answer, tpm2/interrupted
   */
  async execute(
    command: TpmCommand,
    signal: AbortSignal,
    authorization?: Authorization | "password",
  ): Promise<TpmAnswer> {
    await this.#flushing;
    return await this.#execute(command, signal, authorization);
  }

  async #execute(
    command: TpmCommand,
    signal: AbortSignal,
    authorization?: Authorization | "password",
  ): Promise<TpmAnswer> {
    const session = authorization === "password" ? emptyPassword : authorization;
    // Made once: a command that is sent again is the same to the octet, the TPM has not used the nonce of the first.
    const octets = encodeCommand(command, session?.authorize(command));
    const started = this.#clock.now();
    for (let pause = FIRST_RETRY_PAUSE; ; pause = Math.min(pause * 2, LONGEST_RETRY_PAUSE)) {
      if (signal.aborted) throw interrupted();
      try {
        const answer = decodeAnswer(command, session !== undefined, await this.#exchange(command, octets));
        if (command.givesHandle) this.#remember(command, answer.handle);
        session?.verify(command, answer);
        return answer;
      } catch (error) {
        const again = error instanceof TpmResponseError && isRetry(error.rc & 0xffff);
        if (!again || this.#clock.now() - started + pause > this.#limits.retry) throw error;
      }
      await this.#clock.sleep(pause, signal);
    }
  }

  /** Frees an object or session that is still there. Never throws: a resource manager frees the rest at the end. */
  async flush(handle: number): Promise<void> {
    this.flushSoon(handle);
    await this.#flushing;
  }

  /** The same beside what the caller does next; the next command waits for it. */
  flushSoon(handle: number): void {
    this.#flushing = this.#flushing.then(async () => {
      if (!this.#handles.delete(handle) || this.broken) return;
      // 0x1cb, already gone, is as good as done.
      await this.#execute(commands.flushContext(handle), neverAborted).catch(() => undefined);
    });
  }

  /** The TPM freed it by itself: a session that was not to be continued. */
  forget(handle: number): void {
    this.#handles.delete(handle);
  }

  /** Frees everything this connection still holds. Never throws. */
  async flushAll(): Promise<void> {
    for (const handle of this.#handles) await this.flush(handle);
  }

  close(): void {
    this.#isClosed = true;
    this.#transport.close();
  }

  async #exchange(command: TpmCommand, octets: Uint8Array): Promise<Uint8Array> {
    if (this.broken) throw this.broken;
    const limit = command.slow ? this.#limits.keyGeneration : this.#limits.command;
    const late = new AbortController();
    const done = new AbortController();
    void this.#clock.sleep(limit, done.signal).then(() => {
      if (!done.signal.aborted) late.abort(this.#tooLate(command, limit));
    });
    try {
      return await this.#transport.transmit(octets, late.signal);
    } catch (error) {
      this.#broken =
        error instanceof LatchkeyError
          ? error
          : new LatchkeyError("tpm2/unreachable", `${this.#transport.name}: it failed`, { cause: error });
      throw this.#broken;
    } finally {
      done.abort(DONE);
    }
  }

  #tooLate(command: TpmCommand, limit: number): LatchkeyError {
    return new LatchkeyError(
      "tpm2/timed-out",
      `${this.#transport.name}: no answer to ${command.name} within ${limit / 1000} s`,
      { hint: "another program may hold the TPM, or its driver is stuck: see dmesg" },
    );
  }

  #remember(command: TpmCommand, handle: number): void {
    if (!flushableTypes.includes(handle >>> 24) || this.#handles.has(handle)) {
      throw new LatchkeyError("tpm2/bad-answer", `the TPM gave the handle ${hexCode(handle)} for ${command.name}`);
    }
    this.#handles.add(handle);
  }
}

const neverAborted = new AbortController().signal;

/** The work was ended from outside; whoever did that knows why. */
export function interrupted(): LatchkeyError {
  return new LatchkeyError("tpm2/interrupted", "the work with the TPM was ended before it was done");
}
