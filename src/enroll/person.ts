import { setTimeout as sleep } from "node:timers/promises";
import { atExit } from "../system/ask-password/at-exit.ts";
import { ConsoleAsker } from "../system/ask-password/console-asker.ts";
import { whenReadable } from "../system/ask-password/readiness.ts";
import { LatchkeyError } from "../system/errors.ts";
import { SecretBytes } from "../system/secret-bytes.ts";
import { LINE_BUFFER, Terminal } from "../system/terminal.ts";

/** Whoever enrols, at a terminal. Each of these throws prompt/no-console where there is none. */
export interface Person {
  /** A question to be answered with yes; everything else is no. What is typed is seen. */
  confirm(lines: readonly string[], question: string, signal: AbortSignal): Promise<boolean>;
  /** A question for a secret: nothing typed is seen. Undefined: declined, or the signal was aborted. */
  askSecret(question: string, signal: AbortSignal): Promise<SecretBytes | undefined>;
  /** A page for its own, which is taken off the screen when `during` has ended. */
  show<T>(page: readonly (string | SecretBytes)[], during: () => Promise<T>): Promise<T>;
}

const TERMINAL = "/dev/tty";

/** Milliseconds for a terminal that takes no output (ctrl-S, a dead line). */
const OUTPUT_LIMIT = 5000;
const OUTPUT_RETRY = 20;

/** xterm's other screen (ctlseqs, 1049), which has no history to scroll back to. */
const ENTER_PAGE = "\x1b[?1049h\x1b[H\x1b[2J";
const LEAVE_PAGE = "\x1b[H\x1b[2J\x1b[?1049l";
/** The Linux console has no such screen: there the page and the history go, console_codes(4). */
const LEAVE_CONSOLE_PAGE = "\x1b[H\x1b[2J\x1b[3J";

/** The terminal that latchkey was started from; standard input and output are not touched. */
export class PersonAtTerminal implements Person {
  readonly #path: string;

  constructor(path: string = TERMINAL) {
    this.#path = path;
  }

  async confirm(lines: readonly string[], question: string, signal: AbortSignal): Promise<boolean> {
    using terminal = this.#open();
    // What was typed before the question was not meant for it.
    terminal.hide();
    terminal.discardTyped();
    terminal.restore();
    for (const line of lines) await write(terminal, `${line}\r\n`);
    await write(terminal, `${question} [y/N] `);
    using room = SecretBytes.allocate(LINE_BUFFER);
    for (;;) {
      if (!(await whenReadable(terminal.fd, signal))) return false;
      const line = terminal.readLine(room);
      if (line === undefined) continue;
      if (line === "hung-up" || line.kind !== "line") return false;
      return /^\s*y(es)?\s*$/i.test(new TextDecoder().decode(room.bytes.subarray(0, line.length)));
    }
  }

  async askSecret(question: string, signal: AbortSignal): Promise<SecretBytes | undefined> {
    this.#open()[Symbol.dispose](); // so that its absence is told with the hint
    using asker = new ConsoleAsker("terminal", this.#path);
    const answer = await asker.ask({ text: question, id: "latchkey:enroll" }, signal);
    if (answer?.kind === "too-long") throw new LatchkeyError("secret/too-long", "what was typed is too long");
    return answer?.kind === "secret" ? answer.secret : undefined;
  }

  async show<T>(page: readonly (string | SecretBytes)[], during: () => Promise<T>): Promise<T> {
    using terminal = this.#open();
    const isConsole = process.env["TERM"] === "linux";
    const leave = (): void => {
      terminal.write(new TextEncoder().encode(isConsole ? LEAVE_CONSOLE_PAGE : LEAVE_PAGE));
    };
    using guard = new DisposableStack();
    guard.defer(leave);
    guard.use(atExit(leave));
    await write(terminal, isConsole ? LEAVE_CONSOLE_PAGE : ENTER_PAGE);
    for (const part of page) await write(terminal, part);
    return await during();
  }

  #open(): Terminal {
    try {
      return Terminal.open(this.#path);
    } catch (cause) {
      throw new LatchkeyError("prompt/no-console", "there is no terminal to ask on", {
        hint: "start latchkey from a terminal, or give --passphrase-file, --thumbprint, --force and --yes where they apply",
        cause,
      });
    }
  }
}

/** @throws LatchkeyError prompt/console-lost: what is shown here has to be seen */
async function write(terminal: Terminal, part: string | SecretBytes): Promise<void> {
  let rest: Uint8Array = typeof part === "string" ? new TextEncoder().encode(part) : part.bytes;
  for (let waited = 0; ; waited += OUTPUT_RETRY) {
    rest = rest.subarray(terminal.write(rest));
    if (rest.length === 0) return;
    if (waited >= OUTPUT_LIMIT) {
      throw new LatchkeyError("prompt/console-lost", `${terminal.path} takes no output`);
    }
    await sleep(OUTPUT_RETRY);
  }
}
