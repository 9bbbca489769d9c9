import type { Asked, Desk, End } from "../sources/remote/desk.ts";
import type { Verdict } from "../sources/remote/messages.ts";
import { LatchkeyError } from "../system/errors.ts";
import type { SecretBytes } from "../system/secret-bytes.ts";
import { endError } from "./answer-end.ts";
import { verdictLines } from "./answer-screen.ts";

export interface InputParts {
  readonly desk: Desk;
  /** Facts, for standard output. */
  say(lines: readonly string[]): void;
}

/**
 * A session of a script: one passphrase, tried once.
 * @throws LatchkeyError answer/wrong, answer/failed, answer/nobody-asks and what else there is
 */
export async function answerFromInput(given: SecretBytes, parts: InputParts, signal: AbortSignal): Promise<void> {
  using secret = given;
  const { desk, say } = parts;
  for (;;) {
    const next = await desk.until<Asked | End>(() => desk.question ?? desk.end, signal);
    if (!next) throw new LatchkeyError("unlock/interrupted", "interrupted before the passphrase was tried");
    if ("kind" in next) {
      const error = endError(next);
      if (error) throw error;
      return say(["nothing waits for a passphrase: everything is open"]);
    }
    const isSettled =
      next.by === "agent" ? await tryAtAgent(secret, parts, signal) : await tryAtOther(next, secret, parts, signal);
    if (isSettled) return;
  }
}

/** @returns false when it was not tried after all, because things had moved on */
async function tryAtAgent(secret: SecretBytes, { desk, say }: InputParts, signal: AbortSignal): Promise<boolean> {
  const verdict = await desk.answerAgent(secret.clone(), signal);
  // Gone with a farewell: the next look says how it ended. Without one: the system's own question may come.
  if (verdict === undefined || verdict === "gone") return false;
  if (verdict.kind !== "tried") return false;
  if (verdict.opened.length === 0) throw refusal(verdict);
  say(verdictLines(verdict));
  return true;
}

function refusal(verdict: Verdict): LatchkeyError {
  const text = verdictLines({ ...verdict, wait: 0 }).join("; ");
  const isWrong = verdict.failed.some((one) => one.isWrong);
  return isWrong ? new LatchkeyError("answer/wrong", text) : new LatchkeyError("answer/failed", text);
}

/** Other programs say nothing: an answer was wrong if the same is asked again. */
async function tryAtOther(
  asked: Extract<Asked, { by: "other" }>,
  secret: SecretBytes,
  { desk, say }: InputParts,
  signal: AbortSignal,
): Promise<boolean> {
  if (!asked.answer(secret)) return false;
  const again = await desk.until<"again" | "quiet">(() => {
    const question = desk.question;
    if (question?.by === "other" && question.subject === asked.subject) return "again";
    return desk.othersAreContent ? "quiet" : undefined;
  }, signal);
  if (again === "again") throw new LatchkeyError("answer/wrong", `wrong passphrase: asked again: ${asked.message}`);
  say([`passed on, and not asked again: ${asked.message}`]);
  return true;
}
