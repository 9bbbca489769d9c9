import type { Command } from "commander";
import { writeSome } from "../system/descriptor.ts";
import { asLatchkeyError, exitStatus, LatchkeyError, oneLine } from "../system/errors.ts";
import { type ReportedError, reportedError } from "../unlock/report.ts";

/**
 * The rules of the interface. Facts go to standard output, everything else to standard error. Errors are one line,
 * `latchkey: error: CODE: what`, lower case, no full stop; advice follows as `latchkey: hint: …`. The exit status is
 * the table in src/system/errors.ts.
 */
export function printError(thrown: unknown): number {
  const error = asLatchkeyError(thrown);
  printReportedError(reportedError(error));
  if (process.env["LATCHKEY_DEBUG"] === "1" && error.cause instanceof Error) {
    say(process.stderr, `latchkey: debug: ${oneLine(error.cause.stack ?? error.cause.message)}`);
  }
  return exitStatus[error.outcome];
}

/** An error in a timer or a callback ends the process like any other: at boot the system's own question is next. */
export function endOnStrayErrors(): void {
  process.on("uncaughtException", (thrown) => process.exit(printError(thrown)));
  process.on("unhandledRejection", (thrown) => process.exit(printError(thrown)));
}

export function printReportedError({ code, reason, hint }: ReportedError): void {
  say(process.stderr, `latchkey: error: ${code}: ${reason}`);
  if (hint !== undefined) say(process.stderr, `latchkey: hint: ${hint}`);
}

const listenedTo = new WeakSet<NodeJS.WriteStream>();

/**
 * A line for whoever still reads, and without waiting for them. A pipe that was closed, or a terminal that is gone, is an "error"
 * event of the stream; if nobody listened, it would end the process, and what was begun would be neither finished nor undone.
 */
export function say(stream: NodeJS.WriteStream, line: string): void {
  if (!listenedTo.has(stream)) {
    listenedTo.add(stream);
    stream.on("error", () => undefined);
  }
  stream.write(`${line}\n`);
}

/** What a person may want to know beside the result. */
export function printNote(text: string): void {
  say(process.stderr, `latchkey: note: ${oneLine(text)}`);
}

/** A row of a list that is not done yet. */
export function printRow(text: string): void {
  say(process.stderr, oneLine(text));
}

export function printWarning(text: string): void {
  say(process.stderr, `latchkey: warning: ${oneLine(text)}`);
}

const STDOUT = 1;
/** Milliseconds until a standard output that is full and does not block is tried again. */
const FULL_PAUSE = 10;

/**
 * Facts, all of them, before the process ends: what process.stdout has not passed on by then is lost (seen with Bun 1.4 and a
 * pipe that is read slowly). Whoever closes the pipe has seen enough.
 * @throws LatchkeyError system/output-failed
 */
export function print(text: string): void {
  let rest: Uint8Array = new TextEncoder().encode(`${text}\n`);
  while (rest.length > 0) {
    const written = writeSome(STDOUT, rest);
    if ("bytes" in written) {
      rest = rest.subarray(written.bytes);
      continue;
    }
    if (written.errno === "EPIPE") return;
    if (written.errno !== "EAGAIN") {
      throw new LatchkeyError("system/output-failed", `standard output takes no more (${written.errno})`);
    }
    Bun.sleepSync(FULL_PAUSE);
  }
}

export function printJson(value: unknown): void {
  print(JSON.stringify(value, null, 2));
}

/** A command's action: does its work and gives the exit status; whatever it throws becomes our one line. */
export function acts<Arguments extends unknown[]>(
  command: Command,
  action: (...args: Arguments) => Promise<number> | number,
): Command {
  return command.action(async (...args: unknown[]) => {
    let status: number;
    // The start is over: what takes long from here on is worth compiling (scripts/build.ts).
    Bun.unsafe.setJITPolicy(1);
    try {
      status = await action(...(args as Arguments));
    } catch (thrown) {
      status = printError(thrown);
    }
    // Workers and sockets left behind must not keep a finished command alive.
    process.exit(status);
  });
}

/** `commander`'s own complaints about the command line, in our form: one sentence becomes what follows a colon. */
export function usageError(message: string): LatchkeyError {
  const text = message
    .replace(/^error: /, "")
    .replace(/\.$/, "")
    .replace(/\. ([A-Z])/, (_, initial: string) => `: ${initial.toLowerCase()}`);
  return new LatchkeyError("usage/invalid", text, {
    hint: "see `latchkey --help` or `latchkey COMMAND --help`",
  });
}
