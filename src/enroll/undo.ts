import { asLatchkeyError, LatchkeyError } from "../system/errors.ts";

/** How to take one thing out again that an enrolment has put somewhere. */
export interface Undo {
  readonly what: string;
  /** For a person, if it cannot be done here. */
  readonly command: string;
  run(): Promise<void>;
}

/**
 * Takes out again what a run put in, the last first.
 * @param say one line for each
 * @returns the error to end with: the one it failed for, or that something was left behind
 */
export async function undoAll(
  undos: readonly Undo[],
  error: LatchkeyError,
  say: (line: string) => void,
): Promise<LatchkeyError> {
  const left: { readonly why: string; readonly command: string }[] = [];
  for (const { what, command, run } of undos.toReversed()) {
    say(`undo: ${what}`);
    try {
      await run();
    } catch (thrown) {
      left.push({ why: `${what} failed: ${asLatchkeyError(thrown).message}`, command });
    }
  }
  if (left.length === 0) return error;
  const message = [error.message, ...left.map(({ why }) => why)].join("; and ");
  const hint = `take it out by hand: ${left.map(({ command }) => command).join(" && ")}`;
  return new LatchkeyError("enroll/left-behind", message, { hint, cause: error });
}
