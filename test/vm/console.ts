import { seconds } from "./patience.ts";
import { TerminalText } from "./terminal-text.ts";

/** How much of the console a failed expectation shows. */
const SHOWN_LINES = 60;

/** What a boot never recovers from: no use in waiting on. */
const FATAL: readonly RegExp[] = [/Kernel panic - not syncing/, /You are in emergency mode/, /Entering emergency mode/];

export interface ExpectOptions {
  /** Milliseconds; counted from the call. */
  readonly within?: number;
  /** Texts that end the wait at once because what is expected cannot come any more. */
  readonly unless?: readonly (string | RegExp)[];
}

/** What was matched, and when it had arrived in milliseconds since the machine started, by the host's clock. */
export interface Seen {
  readonly match: RegExpExecArray;
  readonly at: number;
}

interface Arrival {
  readonly offset: number;
  readonly at: number;
}

const asPattern = (pattern: string | RegExp): RegExp =>
  typeof pattern === "string" ? new RegExp(RegExp.escape(pattern)) : pattern;

/** As the test wrote it. */
const shown = (pattern: string | RegExp): string => (typeof pattern === "string" ? `"${pattern}"` : `${pattern}`);

/**
 * The serial console as text without escape sequences. Times are the host's: a guest's own clock is wrong when the host is
 * busy. Matching is on the text and not on lines, because a prompt is an unfinished line, and moves forward: nothing is seen twice.
 */
export class Console {
  readonly #started = performance.now();
  readonly #terminal = new TerminalText();
  readonly #arrivals: Arrival[] = [];
  readonly #wakers = new Set<() => void>();
  #text = "";
  #cursor = 0;
  #ended: string | undefined;

  /** Milliseconds since the machine was started. */
  get now(): number {
    return performance.now() - this.#started;
  }

  /** Everything so far. */
  get text(): string {
    return this.#text;
  }

  feed(bytes: Uint8Array): void {
    const added = this.#terminal.add(bytes);
    if (added === "") return;
    this.#arrivals.push({ offset: this.#text.length, at: this.now });
    this.#text += added;
    this.#wake();
  }

  /** Nothing more will come, and why: every wait ends. */
  end(why: string): void {
    this.#ended ??= why;
    this.#wake();
  }

  /** Takes an end back, for a machine that is started again. */
  resume(): void {
    this.#ended = undefined;
  }

  /** Moves past everything so far: only what arrives from now on is matched. */
  skip(): void {
    this.#cursor = this.#text.length;
  }

  /** Waits for a text after the last one that was expected. */
  async expect(pattern: string | RegExp, options: ExpectOptions = {}): Promise<Seen> {
    const wanted = asPattern(pattern);
    const unwanted = options.unless ?? FATAL;
    const limit = options.within ?? seconds(120);
    const end = performance.now() + limit;
    for (;;) {
      const rest = this.#text.slice(this.#cursor);
      const match = wanted.exec(rest);
      if (match) {
        const from = this.#cursor;
        this.#cursor += match.index + match[0].length;
        return { match, at: this.#arrivalOf(from + match.index + Math.max(0, match[0].length - 1)) };
      }
      const instead = unwanted.find((one) => asPattern(one).test(rest));
      if (instead) throw this.#failure(`${shown(pattern)} will not come: the console says ${shown(instead)}`);
      if (this.#ended !== undefined) throw this.#failure(`${shown(pattern)} will not come: ${this.#ended}`);
      const left = end - performance.now();
      if (left <= 0) throw this.#failure(`${shown(pattern)} did not come within ${limit / 1000} s`);
      await this.#change(left);
    }
  }

  /** The console with the second at which each line began to arrive. */
  transcript(): string {
    let offset = 0;
    const lines: string[] = [];
    for (const line of this.#text.split("\n")) {
      lines.push(`[${(this.#arrivalOf(offset) / 1000).toFixed(3).padStart(8)}] ${line}`);
      offset += line.length + 1;
    }
    return lines.join("\n");
  }

  #arrivalOf(offset: number): number {
    return this.#arrivals.findLast((arrival) => arrival.offset <= offset)?.at ?? 0;
  }

  #failure(what: string): Error {
    const lines = this.transcript().trimEnd().split("\n");
    return new Error(`console: ${what}; its last lines:\n${lines.slice(-SHOWN_LINES).join("\n")}`);
  }

  #change(limit: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        this.#wakers.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, limit);
      this.#wakers.add(wake);
    });
  }

  #wake(): void {
    for (const wake of [...this.#wakers]) wake();
  }
}
