import { join } from "node:path";
import type { Subprocess } from "bun";
import { asLatchkeyError, LatchkeyError } from "../../system/errors.ts";
import type { SecretBytes } from "../../system/secret-bytes.ts";
import type { KeyPlace, KeyReader, PartitionOf } from "./key-reader.ts";
import { KeyRoom } from "./key-room.ts";
import { linesOf } from "./lines.ts";
import { type DeviceIdentity, errorOf, type ReaderAnswer, type ReaderJob } from "./reader-protocol.ts";

/** The hidden command of this program that is the reader. */
export const READER_COMMAND = "read-key";

/** Readers at once: a stick that hangs keeps one of them, and the others go on. */
const MOST_READERS = 3;

/**
 * Milliseconds that a device has for one answer. A slow stick needs 10 s for the largest key (8 MiB at 1 MB/s); the kernel itself gives a
 * silent one 30 s for each command and tries again, so whoever waited for its error would wait for minutes.
 */
export const ANSWER_LIMIT = 20_000;

export interface ChildReaderOptions {
  /** The program and its arguments, for tests. */
  readonly command?: readonly string[];
  /** Milliseconds, for tests. */
  readonly answerLimit?: number;
}

/** Reads in processes of its own. One that does not answer in time is killed and left to the kernel: nobody waits for its end. */
export class ChildKeyReader implements KeyReader, Disposable {
  readonly #command: readonly string[];
  readonly #answerLimit: number;
  readonly #idle: ReaderProcess[] = [];
  readonly #waiting: (() => void)[] = [];
  #running = 0;
  #isOver = false;

  constructor({ command = readerCommand(), answerLimit = ANSWER_LIMIT }: ChildReaderOptions = {}) {
    this.#command = command;
    this.#answerLimit = answerLimit;
  }

  prepare(): void {
    if (this.#running > 0 || this.#isOver) return;
    try {
      this.#idle.push(this.#start());
    } catch {
      // Whoever has a job for it will hear why.
    }
  }

  async identify(device: string, partitionOf: PartitionOf | undefined, signal: AbortSignal): Promise<DeviceIdentity> {
    const job: ReaderJob = { do: "identify", device, ...(partitionOf ? { partitionOf } : {}) };
    return await this.#withReader(device, signal, async (reader) => {
      const answer = await reader.ask(job);
      if (answer.is === "identity") return answer.identity;
      throw strange(device);
    });
  }

  async read(place: KeyPlace, signal: AbortSignal): Promise<SecretBytes> {
    const job: ReaderJob =
      "path" in place
        ? { do: "read-file", device: place.on, type: place.type, path: place.path }
        : { do: "read-raw", device: place.on, offset: place.offset, size: place.size };
    return await this.#withReader(place.on, signal, async (reader) => {
      const answer = await reader.ask(job);
      if (answer.is === "read") return reader.room.take(answer.length);
      throw strange(place.on);
    });
  }

  [Symbol.dispose](): void {
    this.#isOver = true;
    for (const reader of this.#idle.splice(0)) reader[Symbol.dispose]();
  }

  async #withReader<T>(device: string, signal: AbortSignal, work: (reader: ReaderProcess) => Promise<T>): Promise<T> {
    const reader = await this.#takeReader(signal);
    const isBack = await finished(work(reader), AbortSignal.any([signal, AbortSignal.timeout(this.#answerLimit)]));
    if ("value" in isBack) {
      this.#giveBack(reader);
      return isBack.value;
    }
    // It has answered with an error, and can do more; or it has not answered, and may never.
    if ("error" in isBack && reader.isAlive) {
      reader.room.wipe();
      this.#giveBack(reader);
    } else {
      this.#abandon(reader);
    }
    if ("error" in isBack) throw isBack.error;
    if (signal.aborted) throw new LatchkeyError("key-file/no-answer", `${device} is not waited for any longer`);
    throw new LatchkeyError(
      "key-file/no-answer",
      `${device} did not answer within ${this.#answerLimit / 1000} s, and is not waited for`,
      { hint: "pull the stick out and put it in again, or use another one" },
    );
  }

  async #takeReader(signal: AbortSignal): Promise<ReaderProcess> {
    for (;;) {
      const idle = this.#idle.pop();
      if (idle) return idle;
      if (this.#running < MOST_READERS) return this.#start();
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
        signal.addEventListener("abort", () => resolve(), { once: true });
      });
      if (signal.aborted) throw new LatchkeyError("key-file/no-answer", "there is no need to read any longer");
    }
  }

  #start(): ReaderProcess {
    const reader = new ReaderProcess(this.#command);
    this.#running += 1;
    return reader;
  }

  #giveBack(reader: ReaderProcess): void {
    if (this.#isOver) {
      this.#abandon(reader);
    } else {
      this.#idle.push(reader);
      this.#waiting.shift()?.();
    }
  }

  #abandon(reader: ReaderProcess): void {
    this.#running -= 1;
    reader[Symbol.dispose]();
    this.#waiting.shift()?.();
  }
}

/** This program again, in its compiled form or from its sources. */
function readerCommand(): readonly string[] {
  const isCompiled = Bun.main.startsWith("/$bunfs/");
  return [process.execPath, ...(isCompiled ? [] : [join(import.meta.dir, "../../main.ts")]), READER_COMMAND];
}

/** One child, and the room that it shares with us. */
class ReaderProcess implements Disposable {
  readonly room: KeyRoom;
  readonly #child: Subprocess<"pipe", "pipe", "ignore">;
  readonly #answers: AsyncGenerator<string>;

  constructor(command: readonly string[]) {
    this.room = KeyRoom.create();
    try {
      this.#child = Bun.spawn([...command], {
        stdio: ["pipe", "pipe", "ignore", this.room.descriptor],
        env: { PATH: process.env["PATH"] ?? "/usr/sbin:/usr/bin:/sbin:/bin" },
        // A process group of its own: ctrl-C is for us.
        detached: true,
      });
    } catch (cause) {
      this.room[Symbol.dispose]();
      throw new LatchkeyError("internal/defect", "the process that reads keys could not be started", { cause });
    }
    this.#child.unref(); // nobody stays alive for it
    this.#answers = linesOf(this.#child.stdout);
  }

  get isAlive(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** @throws LatchkeyError what the reader found wrong */
  async ask(job: ReaderJob): Promise<Exclude<ReaderAnswer, { is: "failed" }>> {
    this.#child.ref();
    try {
      this.#child.stdin.write(`${JSON.stringify(job)}\n`);
      await this.#child.stdin.flush();
      const { value, done } = await this.#answers.next();
      if (done) throw new LatchkeyError("internal/defect", "the process that reads keys ended");
      const answer = JSON.parse(value) as ReaderAnswer;
      if (answer.is === "failed") throw errorOf(answer);
      return answer;
    } finally {
      this.#child.unref();
    }
  }

  /** Not awaited: a process inside a read that hangs ends when the kernel lets it. */
  [Symbol.dispose](): void {
    this.#child.kill("SIGKILL");
    this.room[Symbol.dispose]();
  }
}

type Finished<T> = { readonly value: T } | { readonly error: LatchkeyError } | { readonly isLate: true };

/** What the work comes to, or that the signal came first. */
function finished<T>(work: Promise<T>, signal: AbortSignal): Promise<Finished<T>> {
  return new Promise((resolve) => {
    const late = (): void => resolve({ isLate: true });
    if (signal.aborted) late();
    signal.addEventListener("abort", late, { once: true });
    work
      .then(
        (value) => resolve({ value }),
        (thrown: unknown) => resolve({ error: asLatchkeyError(thrown) }),
      )
      .finally(() => signal.removeEventListener("abort", late));
  });
}

function strange(device: string): LatchkeyError {
  return new LatchkeyError(
    "internal/defect",
    `${device}: the process that reads keys gave another answer than asked for`,
  );
}
