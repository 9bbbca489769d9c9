import { type Clock, monotonicClock } from "../system/clock.ts";
import { LatchkeyError } from "../system/errors.ts";
import { defaultLimits, interrupted, TpmChannel, type TpmLimits } from "./channel.ts";
import { explainLockout } from "./lockout.ts";
import { Primaries } from "./primary.ts";
import { machineRandomness, type Randomness } from "./randomness.ts";
import { TpmResponseError } from "./response-codes.ts";
import { openSocket } from "./socket-transport.ts";
import { addressName, type TpmAddress } from "./tcti.ts";
import type { TpmTransport } from "./transport.ts";

/** Milliseconds to wait for a device node: drivers of the initrd are loaded by then, or it has none. */
export const DEVICE_WAIT_LIMIT = 5_000;

export interface TpmOptions {
  /** Milliseconds to wait for the device node to turn up. */
  readonly deviceWait?: number;
  readonly limits?: Partial<TpmLimits>;
  readonly clock?: Clock;
  /** Another one only in tests. */
  readonly random?: Randomness;
  /** Another way to the TPM: for tests. */
  readonly open?: (signal: AbortSignal) => Promise<TpmTransport>;
}

/** What work with the TPM has at hand while it is its turn. */
export interface TpmTurn {
  readonly channel: TpmChannel;
  readonly primaries: Primaries;
  readonly random: Randomness;
  /** Aborted when the work is no longer wanted; commands look at it before they are sent. */
  readonly signal: AbortSignal;
}

/**
 * The machine's TPM, shared by every token of a run: opened on first use, one piece of work at a time (two that run across
 * each other flush each other's objects on a TPM without resource manager, as clevis does), one primary for many tokens,
 * and nothing left inside at the end: `await using tpm = new Tpm(address)`.
 */
export class Tpm implements AsyncDisposable {
  readonly #address: TpmAddress;
  readonly #options: TpmOptions;
  readonly #limits: TpmLimits;
  readonly #clock: Clock;
  #turns: Promise<void> = Promise.resolve();
  #open: { readonly channel: TpmChannel; readonly primaries: Primaries } | undefined;
  readonly #ended = new AbortController();

  constructor(address: TpmAddress, options: TpmOptions = {}) {
    this.#address = address;
    this.#options = options;
    this.#limits = { ...defaultLimits, ...options.limits };
    this.#clock = options.clock ?? monotonicClock;
  }

  /** For messages: `/dev/tpmrm0`. */
  get name(): string {
    return addressName(this.#address);
  }

  /**
   * Runs `work` when its turn comes. Opens the TPM when it is not open, also after it broke. When the signal is aborted this
   * ends at once; the command that is being worked on goes on in the background, and what it made is freed.
   * @param discard gets a result that came after the abort: wipes it
   * @throws LatchkeyError tpm2/interrupted; what opening and `work` throw
   */
  use<T>(signal: AbortSignal, work: (turn: TpmTurn) => Promise<T>, discard?: (late: T) => void): Promise<T> {
    const either = AbortSignal.any([signal, this.#ended.signal]);
    const turn = this.#turns.then(async () => {
      if (either.aborted) throw interrupted();
      const { channel, primaries } = await this.#connection(either);
      const random = this.#options.random ?? machineRandomness;
      return await explained({ channel, primaries, random, signal: either }, work);
    });
    this.#turns = turn.then(
      () => undefined,
      () => undefined,
    );
    return new Promise<T>((resolve, reject) => {
      const abort = (): void => reject(interrupted());
      either.addEventListener("abort", abort, { once: true });
      turn
        .then((result) => (either.aborted ? discard?.(result) : resolve(result)), reject)
        .finally(() => either.removeEventListener("abort", abort));
      if (either.aborted) abort();
    });
  }

  /** Waits for the command at work, frees everything, closes: within the close limit. Never throws. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended.abort();
    const freed = this.#turns.then(() => this.#open?.channel.flushAll());
    const patience = new AbortController();
    await Promise.race([freed.catch(() => undefined), this.#clock.sleep(this.#limits.close, patience.signal)]);
    patience.abort();
    this.#open?.channel.close();
    this.#open = undefined;
  }

  async #connection(signal: AbortSignal) {
    if (this.#open?.channel.broken) {
      this.#open.channel.close();
      this.#open = undefined;
    }
    this.#open ??= await this.#connect(signal);
    return this.#open;
  }

  async #connect(signal: AbortSignal) {
    try {
      const transport = await this.#transport(signal);
      const channel = new TpmChannel(transport, this.#limits, this.#clock);
      return { channel, primaries: new Primaries(channel) };
    } catch (error) {
      if (signal.aborted && !(error instanceof LatchkeyError)) throw interrupted();
      throw error;
    }
  }

  async #transport(signal: AbortSignal): Promise<TpmTransport> {
    if (this.#options.open) return await this.#options.open(signal);
    const address = this.#address;
    const wait = this.#options.deviceWait ?? DEVICE_WAIT_LIMIT;
    if (address.kind !== "device" && address.kind !== "first-device") return openSocket(address, this.name, signal);
    const { openDevice } = await import("./device-transport.ts");
    return await openDevice(address.kind === "device" ? address.path : undefined, wait, signal);
  }
}

/** Runs `work`; a lockout gets the time it lasts while the TPM is at hand to ask. */
async function explained<T>(turn: TpmTurn, work: (turn: TpmTurn) => Promise<T>): Promise<T> {
  try {
    return await work(turn);
  } catch (error) {
    if (error instanceof TpmResponseError && error.code === "tpm2/lockout") throw await explainLockout(turn, error);
    throw error;
  }
}
