import { setTimeout as sleep } from "node:timers/promises";
import { LatchkeyError } from "../errors.ts";
import { SecretBytes } from "../secret-bytes.ts";
import { LINE_BUFFER, Terminal } from "../terminal.ts";
import { type Answer, type Asker, LONGEST_ANSWER, type Question } from "./asker.ts";
import { atExit } from "./at-exit.ts";
import { whenReadable } from "./readiness.ts";

/**
 * The rules of our own question, on a terminal device and never on standard input or output:
 * - nothing typed is shown, not even its length; backspace and ctrl-U work; Enter sends; ctrl-C, or ctrl-D on an empty line,
 *   declines;
 * - the terminal is silent from the first question until dispose, also while an answer is being checked;
 * - what was typed before a question is thrown away, and the question is written only after that: whoever waits for the
 *   text before typing loses nothing;
 * - a question that is replaced keeps what was typed so far; one that is withdrawn says so and wipes it.
 */
export class ConsoleAsker implements Asker {
  readonly way: "console" | "terminal";
  readonly #path: string;
  #open: { readonly terminal: Terminal; readonly guard: Disposable } | undefined;
  #isInterrupted = false;

  constructor(way: "console" | "terminal", path: string) {
    this.way = way;
    this.#path = path;
  }

  async ask(question: Question, signal: AbortSignal): Promise<Answer | undefined> {
    if (signal.aborted) return undefined;
    const terminal = this.#terminal();
    // After a replaced question half a passphrase may wait; it goes on under the new one.
    if (!this.#isInterrupted) terminal.discardTyped();
    await write(terminal, `${question.text}: `, signal);
    const answer = await readAnswer(terminal, signal);
    this.#isInterrupted = answer === undefined;
    await write(terminal, "\r\n", signal);
    return answer;
  }

  #terminal(): Terminal {
    if (this.#open) return this.#open.terminal;
    const terminal = Terminal.open(this.#path);
    const guard = atExit(() => terminal[Symbol.dispose]());
    this.#open = { terminal, guard };
    terminal.hide();
    return terminal;
  }

  [Symbol.dispose](): void {
    if (!this.#open) return;
    const { terminal, guard } = this.#open;
    this.#open = undefined;
    guard[Symbol.dispose]();
    if (this.#isInterrupted) terminal.write(new TextEncoder().encode("(no longer needed)\r\n"));
    terminal[Symbol.dispose]();
  }
}

async function readAnswer(terminal: Terminal, signal: AbortSignal): Promise<Answer | undefined> {
  for (;;) {
    const readiness = await whenReadable(terminal.fd, signal);
    if (!readiness) return undefined;
    const room = SecretBytes.allocate(LINE_BUFFER);
    const line = terminal.readLine(room);
    if (line !== undefined && line !== "hung-up" && line.kind === "line" && line.length <= LONGEST_ANSWER) {
      return { kind: "secret", secret: room.truncate(line.length) };
    }
    room[Symbol.dispose]();
    if (line === undefined) continue; // somebody else reads the same console and was faster
    if (line === "hung-up" || (line.kind === "end-of-input" && readiness.isHungUp)) {
      throw new LatchkeyError(
        "prompt/console-lost",
        `${terminal.path} went away while a passphrase was asked for on it`,
      );
    }
    return { kind: line.kind === "line" || line.kind === "too-long" ? "too-long" : "cancelled" };
  }
}

/** Milliseconds until a console that takes no output (ctrl-S, a dead serial line) gets no more of it. */
const OUTPUT_LIMIT = 2000;
const OUTPUT_RETRY = 20;

/** Writes the text as the console takes it. What it does not take is given up: the answer counts, not the question. */
async function write(terminal: Terminal, text: string, signal: AbortSignal): Promise<void> {
  let rest: Uint8Array = new TextEncoder().encode(text);
  for (let waited = 0; ; waited += OUTPUT_RETRY) {
    rest = rest.subarray(terminal.write(rest));
    if (rest.length === 0 || signal.aborted || waited >= OUTPUT_LIMIT) return;
    await sleep(OUTPUT_RETRY);
  }
}
