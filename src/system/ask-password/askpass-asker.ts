import { closeSync, constants, fstatSync, openSync, writeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { LatchkeyError } from "../errors.ts";
import { cString, errnoName, lastErrno, libc } from "../libc.ts";
import { SecretBytes } from "../secret-bytes.ts";
import { applySettings, readSettings } from "../terminal.ts";
import { type Answer, type Asker, LONGEST_ANSWER, type Question } from "./asker.ts";
import { atExit } from "./at-exit.ts";
import { scrubFreedPages } from "./scrub.ts";

export interface AskpassPaths {
  readonly program: string;
  /** Where others hand askpass an answer. */
  readonly fifo: string;
  readonly console: string;
}

export const ASKPASS_PATHS: AskpassPaths = {
  program: "/lib/cryptsetup/askpass",
  fifo: "/lib/cryptsetup/passfifo",
  console: "/dev/console",
};

const MFD_CLOEXEC = 1;
const O_CLOEXEC = 0o2000000;
const SYSLOG_ACTION_CONSOLE_ON = 7;

/** Milliseconds askpass has to go after it was told to, before it is killed. */
const LEAVE_LIMIT = 1000;
const LEAVE_RETRY = 50;

/**
 * Asks through Debian's askpass, which listens to the console, Plymouth and its FIFO at once. Things to know of it:
 * - it writes the answer to its standard output and ends. That is a memfd here, memfd_create(2): pages that we wipe
 *   ourselves, where a pipe would leave its pages to the kernel unwiped;
 * - its standard input must be a terminal. If it is not, askpass reopens input *and output* on /dev/console and writes the
 *   passphrase there for all to read;
 * - it blocks every signal, so SIGTERM does nothing, and SIGKILL leaves the console silent and kernel messages off. The
 *   kind way to send it off is its FIFO: opened and closed, that is an empty answer.
 */
export class AskpassAsker implements Asker {
  readonly way = "askpass";
  readonly #paths: AskpassPaths;

  constructor(paths: AskpassPaths = ASKPASS_PATHS) {
    this.#paths = paths;
  }

  async ask(question: Question, signal: AbortSignal): Promise<Answer | undefined> {
    if (signal.aborted) return undefined;
    using stack = new DisposableStack();
    const terminal = this.#openConsole(stack);
    const answers = openAnswers(stack);
    const settings = readSettings(terminal);
    const child = this.#start(`${question.text}: `, terminal, answers);
    const kill = (): void => {
      child.kill("SIGKILL");
      if (settings) applySettings(terminal, settings);
      libc().klogctl(SYSLOG_ACTION_CONSOLE_ON, null, 0); // askpass had turned kernel messages off, syslog(2)
    };
    stack.use(atExit(kill));
    await untilAborted(child.exited, signal);
    if (child.exitCode === null && !(await this.#sendOff(child))) {
      kill();
      await child.exited;
    }
    scrubFreedPages(); // askpass wipes its own buffer, but not that of the C library beneath it
    if (signal.aborted) return undefined;
    if (child.exitCode === 0) return takeAnswer(answers);
    throw new LatchkeyError(
      "prompt/askpass-failed",
      `${this.#paths.program} ended without an answer (${child.signalCode ?? `exit status ${child.exitCode}`})`,
    );
  }

  #openConsole(stack: DisposableStack): number {
    let fd: number;
    try {
      fd = openSync(this.#paths.console, constants.O_RDWR | constants.O_NOCTTY | O_CLOEXEC);
    } catch (cause) {
      throw new LatchkeyError("prompt/no-console", `cannot open ${this.#paths.console} for askpass`, { cause });
    }
    stack.defer(() => closeSync(fd));
    if (!readSettings(fd)) {
      throw new LatchkeyError("prompt/no-console", `${this.#paths.console} is not a terminal, and askpass needs one`);
    }
    return fd;
  }

  #start(text: string, terminal: number, answers: number): Bun.Subprocess {
    try {
      return Bun.spawn([this.#paths.program, text], { stdin: terminal, stdout: answers, stderr: terminal });
    } catch (cause) {
      throw new LatchkeyError("prompt/askpass-failed", `cannot start ${this.#paths.program}`, { cause });
    }
  }

  /** Lets askpass end by itself. @returns false when it did not in time */
  async #sendOff(child: Bun.Subprocess): Promise<boolean> {
    for (let waited = 0; waited < LEAVE_LIMIT; waited += LEAVE_RETRY) {
      try {
        // Not waiting: without a reader (askpass has not made it yet, or listens elsewhere) this fails at once, fifo(7).
        closeSync(openSync(this.#paths.fifo, constants.O_WRONLY | constants.O_NONBLOCK | O_CLOEXEC));
      } catch {
        // Tried again until the limit.
      }
      if (await Promise.race([child.exited.then(() => true), sleep(LEAVE_RETRY, false)])) return true;
    }
    return false;
  }

  [Symbol.dispose](): void {
    // Each question ends its own askpass.
  }
}

/** A file without a name in memory that is wiped when the question is over. */
function openAnswers(stack: DisposableStack): number {
  const fd = libc().memfd_create(cString("latchkey-answer"), MFD_CLOEXEC);
  if (fd < 0) {
    const reason = errnoName(lastErrno());
    throw new LatchkeyError("prompt/askpass-failed", `no memory for what askpass answers (${reason})`);
  }
  stack.defer(() => {
    const zeros = new Uint8Array(Math.min(fstatSync(fd).size, 16 * LONGEST_ANSWER));
    writeSync(fd, zeros, 0, zeros.length, 0);
    closeSync(fd);
  });
  return fd;
}

function takeAnswer(fd: number): Answer {
  const { size } = fstatSync(fd);
  if (size > LONGEST_ANSWER) return { kind: "too-long" };
  const secret = SecretBytes.allocate(size);
  const length = size === 0 ? 0 : Number(libc().pread(fd, secret.bytes, BigInt(size), 0n));
  return { kind: "secret", secret: secret.truncate(Math.max(0, length)) };
}

/** Resolves when the promise does or the signal is aborted, whichever comes first. */
function untilAborted(promise: Promise<unknown>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const finish = (): void => {
      signal.removeEventListener("abort", finish);
      resolve();
    };
    if (signal.aborted) return resolve();
    signal.addEventListener("abort", finish);
    promise.then(finish, finish);
  });
}
