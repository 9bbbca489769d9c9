import type { ErrorCode } from "./error-table.ts";

/** How a thing ended, in the words of the design; each has one exit status. */
export type Outcome = "failed" | "wrong-credential" | "unavailable" | "refused" | "usage" | "configuration";

/** The exit status of each outcome: part of the surface that scripts hold on to. */
export const exitStatus: Readonly<Record<Outcome | "done", number>> = {
  done: 0,
  failed: 1,
  "wrong-credential": 2,
  unavailable: 3,
  refused: 4,
  usage: 64, // EX_USAGE of sysexits.h
  configuration: 78, // EX_CONFIG of sysexits.h
};

export interface ErrorDetails {
  /** One line of advice: what a person can do now. */
  readonly hint?: string;
  /** What lies underneath; shown only with rd.latchkey.debug. */
  readonly cause?: unknown;
}

/**
 * The only error that leaves a function of latchkey on purpose. The message is one lower-case line without a full stop that
 * names the volume, source or device and the reason; it never holds a secret.
 */
export class LatchkeyError extends Error {
  override readonly name = "LatchkeyError";
  readonly code: ErrorCode;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(oneLine(message), "cause" in details ? { cause: details.cause } : {});
    this.code = code;
    this.hint = details.hint === undefined ? undefined : oneLine(details.hint);
  }

  get outcome(): Outcome {
    // The table is long, and a program that meets no error starts without it.
    const { errorTable } = require("./error-table.ts") as typeof import("./error-table.ts");
    return errorTable[this.code].outcome;
  }
}

/** Anything thrown, as our error: what is not ours is a defect of ours and says so. */
export function asLatchkeyError(thrown: unknown): LatchkeyError {
  if (thrown instanceof LatchkeyError) return thrown;
  const text = thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : typeof thrown;
  return new LatchkeyError("internal/defect", `unexpected ${text}`, {
    cause: thrown,
    hint: "this is a defect in latchkey: please report it with the output of `latchkey report --json`",
  });
}

/** Words from outside (a disk label, a helper's message) cannot break a line or move the cursor. */
export function oneLine(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this removes
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, " ").trim();
}
