import { LatchkeyError } from "../../system/errors.ts";
import { SecretBytes } from "../../system/secret-bytes.ts";
import type { DeriveAnswer, DeriveJob } from "./derive-worker.ts";
import { DERIVED_KEY_BYTES, type ScryptParameters, scryptInto } from "./scrypt.ts";

/** Milliseconds a worker may take to start; on an idle machine it takes 4. After that the main thread derives. */
const WORKER_START_LIMIT = 10_000;

/**
 * `bun build --compile src/main.ts src/providers/bcachefs/derive-worker.ts` puts the second entry point here, below the
 * folder that both have in common. Absolute on purpose: a relative name would be looked for in the working directory
 * first, and somebody else's file would run. import.meta.url cannot be asked where we are: with --bytecode it names the
 * source on the machine that built.
 */
const WORKER_IN_BINARY = "/$bunfs/root/providers/bcachefs/derive-worker.js";

function workerModule(): string {
  return Bun.main.startsWith("/$bunfs/") ? WORKER_IN_BINARY : new URL("./derive-worker.ts", import.meta.url).href;
}

/** Turns passphrases into keys without holding up the event loop. */
export interface KeyDeriver extends Disposable {
  /** Gets ready while somebody still types; optional. */
  prepare(): void;
  /**
   * The passphrase is copied first, so its scope may end before this does.
   * @returns 32 bytes, whose scope the caller takes over
   * @throws LatchkeyError bcachefs/derivation-failed
   */
  derive(passphrase: SecretBytes, parameters: ScryptParameters): Promise<SecretBytes>;
}

export interface DeriverOptions {
  /** The worker's module, for tests. */
  readonly module?: string;
  /** Told why the main thread has to derive, which holds up the event loop for 0.4 s. */
  readonly onFallback?: (reason: string) => void;
}

/**
 * Derives in a worker thread, one derivation at a time so that the memory scrypt needs is needed once. The thread lives
 * from prepare() or the first job until the last job is done, and keeps the process alive only while it derives.
 */
export class WorkerKeyDeriver implements KeyDeriver {
  readonly #module: string;
  readonly #onFallback: (reason: string) => void;
  #thread: DeriveThread | undefined;
  #queue: Promise<void> = Promise.resolve();
  #unfinished = 0;

  constructor({ module = workerModule(), onFallback = () => undefined }: DeriverOptions = {}) {
    this.#module = module;
    this.#onFallback = onFallback;
  }

  prepare(): void {
    this.#thread ??= new DeriveThread(this.#module);
  }

  async derive(passphrase: SecretBytes, parameters: ScryptParameters): Promise<SecretBytes> {
    // The thread reads `copy` and writes `key` by address, whatever happens meanwhile to the caller and the passphrase:
    // only this function ends their scopes, and not before the thread has answered.
    using copy = passphrase.clone();
    const key = SecretBytes.allocate(DERIVED_KEY_BYTES);
    this.#unfinished += 1;
    const turn = this.#queue.then(() => this.#deriveNow(copy, parameters, key));
    this.#queue = turn.catch(() => undefined);
    try {
      await turn;
      return key;
    } catch (thrown) {
      key[Symbol.dispose]();
      throw thrown;
    } finally {
      this.#unfinished -= 1;
      this[Symbol.dispose]();
    }
  }

  async #deriveNow(passphrase: SecretBytes, parameters: ScryptParameters, key: SecretBytes): Promise<void> {
    this.#thread ??= new DeriveThread(this.#module);
    const answer = await this.#thread.run({
      passphrase: { address: passphrase.address, length: passphrase.length },
      parameters,
      keyAddress: key.address,
    });
    if (answer.is === "derived") return;
    this.#thread.end();
    this.#thread = undefined;
    this.#onFallback(answer.reason);
    try {
      scryptInto(passphrase.bytes, parameters, key.bytes);
    } catch (thrown) {
      const mebibytes = Math.ceil(2 ** (parameters.log2N + parameters.log2R + 7 - 20));
      throw new LatchkeyError("bcachefs/derivation-failed", "the key could not be derived from the passphrase", {
        hint: `scrypt needs ${mebibytes} MiB of memory for this file system`,
        cause: thrown,
      });
    }
  }

  /** Ends an idle thread; one that derives is ended when it has answered, since it writes to our memory. */
  [Symbol.dispose](): void {
    if (this.#unfinished > 0) return;
    this.#thread?.end();
    this.#thread = undefined;
  }
}

type Finished = Exclude<DeriveAnswer, { is: "ready" }>;

/** The worker, and the one answer that is awaited from it. */
class DeriveThread {
  readonly #worker: Worker | undefined;
  readonly #start = Promise.withResolvers<DeriveAnswer>();
  #job: PromiseWithResolvers<Finished> | undefined;
  /** Why it will never answer again. */
  #failure: Finished | undefined;

  constructor(module: string) {
    try {
      this.#worker = new Worker(module);
    } catch (thrown) {
      this.#receive({
        is: "failed",
        reason: `no worker thread: ${thrown instanceof Error ? thrown.message : "unknown"}`,
      });
      return;
    }
    this.#worker.unref();
    this.#worker.onmessage = ({ data }: MessageEvent<DeriveAnswer>) => this.#receive(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#receive({ is: "failed", reason: `the worker thread failed: ${event.message}` });
    };
    this.#worker.addEventListener("close", () => this.#receive({ is: "failed", reason: "the worker thread ended" }));
  }

  async run(job: DeriveJob): Promise<Finished> {
    this.#worker?.ref();
    const limit = setTimeout(
      () => this.#start.resolve({ is: "failed", reason: "the worker thread did not start in time" }),
      WORKER_START_LIMIT,
    );
    try {
      const started = await this.#start.promise;
      if (started.is === "failed") return started;
      if (this.#failure) return this.#failure;
      this.#job = Promise.withResolvers<Finished>();
      this.#worker?.postMessage(job);
      return await this.#job.promise;
    } finally {
      clearTimeout(limit);
      this.#worker?.unref();
    }
  }

  #receive(answer: DeriveAnswer): void {
    this.#start.resolve(answer); // only the first counts
    if (answer.is === "failed") this.#failure = answer;
    if (answer.is !== "ready") this.#job?.resolve(answer);
  }

  end(): void {
    this.#worker?.terminate();
  }
}
