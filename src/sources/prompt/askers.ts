import type { Answer, Asker, Question, Way } from "../../system/ask-password/asker.ts";
import { asLatchkeyError } from "../../system/errors.ts";

export type OpenWay = (way: Way) => Asker;

const words: Readonly<Record<Way, string>> = {
  agents: "through systemd's password agents",
  askpass: "through Debian's askpass",
  terminal: "on this terminal",
  console: "on the console",
};

/** Several ways to ask, in order: when one does not work on this machine, the next one takes over for good. */
export class Askers implements Disposable {
  readonly #rest: Way[];
  readonly #openWay: OpenWay;
  readonly #note: (text: string) => void;
  #way: Way;
  #asker: Asker | undefined;

  constructor(ways: readonly [Way, ...Way[]], openWay: OpenWay, note: (text: string) => void) {
    [this.#way, ...this.#rest] = ways;
    this.#openWay = openWay;
    this.#note = note;
  }

  /** The way in use. */
  get way(): Way {
    return this.#way;
  }

  /** @throws LatchkeyError of the last way, when none works */
  async ask(question: Question, signal: AbortSignal): Promise<Answer | undefined> {
    for (;;) {
      try {
        return await this.#open().ask(question, signal);
      } catch (thrown) {
        this[Symbol.dispose]();
        const error = asLatchkeyError(thrown);
        const next = this.#rest.shift();
        if (next === undefined) throw error;
        this.#note(`cannot ask ${words[this.#way]}: ${error.message}`);
        this.#way = next;
      }
    }
  }

  #open(): Asker {
    if (this.#asker) return this.#asker;
    this.#note(`asking ${words[this.#way]}`);
    this.#asker = this.#openWay(this.#way);
    return this.#asker;
  }

  [Symbol.dispose](): void {
    this.#asker?.[Symbol.dispose]();
    this.#asker = undefined;
  }
}
