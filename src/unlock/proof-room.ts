import { availableParallelism } from "node:os";
import { availableMemory } from "../system/memory.ts";

/** What proofs may take of a machine. */
export interface Room {
  /** Octets that are free when no proof runs. */
  readonly memory: number;
  readonly cores: number;
}

const MEBIBYTE = 1024 * 1024;

/** Octets left to everything else that boots at the same time. */
export const RESERVE = 128 * MEBIBYTE;

/** Octets for a proof whose provider does not say: what scrypt takes with the settings of every bcachefs there is, and a half more. */
export const ORDINARY_PROOF = 24 * MEBIBYTE;

/**
 * How many of the waiting proofs may start beside the running ones, from the front of the queue on. Each is given by the octets
 * its key derivation takes: Argon2 wants up to 1 GiB, and a machine that swaps or kills for want of memory is slower than one
 * that goes step by step. No more run than there are cores, for each has work for one at least. One runs in any case, however
 * much it wants: whether it gets it is for the kernel to say. The queue keeps its order, so that a large one is not passed over
 * for ever.
 */
export function admitted(waiting: readonly number[], running: readonly number[], { memory, cores }: Room): number {
  const sum = (octets: readonly number[]): number => octets.reduce((total, one) => total + one, 0);
  let count = 0;
  for (const next of waiting) {
    const beside = [...running, ...waiting.slice(0, count)];
    const fits = beside.length < cores && sum(beside) + next <= memory - RESERVE;
    if (beside.length > 0 && !fits) break;
    count += 1;
  }
  return count;
}

interface Place {
  readonly octets: number;
  enter(): void;
}

/** The proofs of one run, which share the machine whichever group and source they are for. */
export class ProofRoom {
  readonly #measure: () => Room;
  readonly #running = new Set<Place>();
  #waiting: Place[] = [];
  #room: Room | undefined;

  constructor(measure: () => Room = measureRoom) {
    this.#measure = measure;
  }

  /**
   * Waits until there is room for a proof; dispose the result when the proof is over.
   * @param octets what its key derivation takes
   * @returns undefined when the signal was aborted first
   */
  async enter(octets: number = ORDINARY_PROOF, signal?: AbortSignal): Promise<Disposable | undefined> {
    if (signal?.aborted) return undefined;
    const entered = Promise.withResolvers<boolean>();
    const place: Place = { octets, enter: () => entered.resolve(true) };
    const giveUp = (): void => {
      if (this.#running.has(place)) return;
      this.#waiting = this.#waiting.filter((other) => other !== place);
      entered.resolve(false);
      this.#admit();
    };
    signal?.addEventListener("abort", giveUp, { once: true });
    this.#waiting.push(place);
    this.#admit();
    const isIn = await entered.promise;
    signal?.removeEventListener("abort", giveUp);
    if (!isIn) return undefined;
    return {
      [Symbol.dispose]: () => {
        if (this.#running.delete(place)) this.#admit();
      },
    };
  }

  #admit(): void {
    // Measured when nothing runs: what running proofs have taken by then is not to be counted twice.
    if (this.#running.size === 0 || !this.#room) this.#room = this.#measure();
    const running = [...this.#running].map(({ octets }) => octets);
    const count = admitted(
      this.#waiting.map(({ octets }) => octets),
      running,
      this.#room,
    );
    for (const place of this.#waiting.splice(0, count)) {
      this.#running.add(place);
      place.enter();
    }
  }
}

/** This machine's. */
export function measureRoom(): Room {
  return { memory: availableMemory(), cores: availableParallelism() };
}
