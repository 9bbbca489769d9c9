import type { OfferResult, Progress, SourceContext, WantedVolume } from "../../../../src/sources/source.ts";
import type { Answer, Asker, Question, Way } from "../../../../src/system/ask-password/asker.ts";
import { LatchkeyError } from "../../../../src/system/errors.ts";
import { SecretBytes } from "../../../../src/system/secret-bytes.ts";

export const secretOf = (text: string): SecretBytes => SecretBytes.take(new TextEncoder().encode(text));

/** Stands in for the heart: volumes with their passphrases, some found, some open. */
export class FakeHeart implements SourceContext {
  readonly #abort = new AbortController();
  readonly signal = this.#abort.signal;
  readonly notes: string[] = [];
  readonly offered: Buffer[] = [];
  readonly #passphrases: Readonly<Record<string, string>>;
  readonly #closed = new Set<string>();
  readonly #missing = new Set<string>();
  readonly #listeners: (() => void)[] = [];
  #waiting: (() => void)[] = [];

  constructor(passphrases: Readonly<Record<string, string>>, missing: readonly string[] = []) {
    this.#passphrases = passphrases;
    for (const name of Object.keys(passphrases)) (missing.includes(name) ? this.#missing : this.#closed).add(name);
  }

  async wanted(): Promise<readonly WantedVolume[]> {
    while (this.#closed.size === 0 && this.#missing.size > 0 && !this.signal.aborted) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    return [...this.#closed].map((name) => ({ name, description: "" }));
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  async offer(secret: SecretBytes): Promise<OfferResult> {
    using taken = secret;
    this.offered.push(Buffer.from(taken.bytes));
    const text = new TextDecoder().decode(taken.bytes);
    const opened = [...this.#closed].filter((name) => this.#passphrases[name] === text);
    for (const name of opened) this.#closed.delete(name);
    const wrong = (name: string) => new LatchkeyError("bcachefs/wrong-passphrase", `${name}: wrong passphrase`);
    return { opened, errors: new Map([...this.#closed].map((name) => [name, wrong(name)])) };
  }

  /** People may be asked at once. */
  readonly questionTime = Promise.resolve();

  progress(): Progress {
    return { volumes: [], failures: [] };
  }

  nothingYet(): void {
    throw new Error("a question always has something to wait for");
  }
  atWork<T>(work: Promise<T>): Promise<T> {
    return work;
  }

  note(text: string): void {
    this.notes.push(text);
  }

  appears(name: string): void {
    this.#missing.delete(name);
    this.#closed.add(name);
    this.changes();
  }

  opensElsewhere(name: string): void {
    this.#closed.delete(name);
    this.changes();
  }

  changes(): void {
    for (const wake of this.#waiting.splice(0)) wake();
    for (const listener of this.#listeners) listener();
  }

  /** Another source has won. */
  abort(): void {
    this.#abort.abort();
    this.#waiting.splice(0).forEach((wake) => {
      wake();
    });
  }
}

/** Stands in for a way to ask: the test answers by hand. */
export class FakeAsker implements Asker {
  readonly way: Way;
  readonly asked: string[] = [];
  readonly ids: string[] = [];
  isDisposed = false;
  #answer: ((answer: Answer | undefined) => void) | undefined;

  constructor(way: Way) {
    this.way = way;
  }

  get isUp(): boolean {
    return this.#answer !== undefined;
  }

  ask(question: Question, signal: AbortSignal): Promise<Answer | undefined> {
    this.asked.push(question.text);
    this.ids.push(question.id);
    return new Promise((resolve) => {
      const finish = (answer: Answer | undefined): void => {
        this.#answer = undefined;
        resolve(answer);
      };
      this.#answer = finish;
      signal.addEventListener("abort", () => finish(undefined));
    });
  }

  answer(answer: string | Answer): void {
    if (!this.#answer) throw new Error("no question is up");
    this.#answer(typeof answer === "string" ? { kind: "secret", secret: secretOf(answer) } : answer);
  }

  [Symbol.dispose](): void {
    this.isDisposed = true;
  }
}
