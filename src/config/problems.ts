import type { ErrorCode } from "../system/error-table.ts";
import { LatchkeyError, oneLine } from "../system/errors.ts";
import type { Origin } from "./plan.ts";

/** A file of rubbish has thousands of broken lines; nobody reads more than these. */
const maxProblems = 50;
/** How many further problems the hint of an error names. */
const maxInHint = 3;

/**
 * Something in a file that is not as it should be. An `error` is the configuration's own fault: commands refuse to go on, a
 * boot leaves the thing out and says so. A `warning` stands in a file that is not ours: it is said, and never stops anything.
 */
export interface Problem {
  readonly severity: "error" | "warning";
  readonly code: Extract<ErrorCode, `config/${string}`>;
  readonly origin: Origin;
  /** The key or parameter, as a person would write it. */
  readonly key?: string;
  readonly text: string;
}

/** `latchkey.toml:7: volumes.root.device: expected …`, in one line whatever the file holds. */
export function problemLine({ origin, key, text }: Problem): string {
  return oneLine([printOrigin(origin), ...(key === undefined ? [] : [key]), text].join(": "));
}

export function printOrigin({ file, line }: Origin): string {
  return oneLine(line === undefined ? file : `${file}:${line}`);
}

/** The problems of one file, in the order found, with an end. */
export class ProblemList {
  readonly #problems: Problem[] = [];
  #dropped = false;

  add(problem: Problem): void {
    if (this.#problems.length < maxProblems) {
      this.#problems.push(problem);
    } else if (!this.#dropped) {
      this.#dropped = true;
      this.#problems.push({
        severity: problem.severity,
        code: problem.code,
        origin: { file: problem.origin.file },
        text: "more problems than are shown here",
      });
    }
  }

  /** Nothing more will be shown, so nothing more needs to be worked out. */
  get isFull(): boolean {
    return this.#dropped;
  }

  get all(): readonly Problem[] {
    return this.#problems;
  }
}

/** The first error, for a command that must not go on with a configuration that is not understood. */
export function refuseErrors(problems: readonly Problem[]): void {
  const [first, ...others] = problems.filter((problem) => problem.severity === "error");
  if (first === undefined) return;
  const shown = others.slice(0, maxInHint).map(problemLine).join("; ");
  const more = others.length > maxInHint ? `; and ${others.length - maxInHint} more` : "";
  throw new LatchkeyError(
    first.code,
    problemLine(first),
    others.length === 0 ? {} : { hint: `also wrong: ${shown}${more}` },
  );
}
