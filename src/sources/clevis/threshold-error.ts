import { LatchkeyError } from "../../system/errors.ts";
import type { SssPin } from "./token.ts";

/** How one share stands while its token is being opened. */
export type ShareStanding =
  | { readonly is: "pending" | "opened" }
  /** Failing for now, and still tried. */
  | { readonly is: "stalled"; readonly error: LatchkeyError }
  /** `isNoShare`: its tag held, but what it holds is no share: whoever made the token made it wrong. */
  | { readonly is: "failed"; readonly error: LatchkeyError; readonly isNoShare?: true };

/** Bounds a message made from a hostile token. */
const MAX_MESSAGE = 2000;

/** Why the threshold is not reached, with the reason of every share that failed. */
export function thresholdError(pin: SssPin, standings: readonly ShareStanding[]): LatchkeyError {
  const total = standings.length + pin.sharesLeftOut;
  if (total < pin.threshold) {
    const message = `the token holds ${total} of the ${pin.threshold} shares it needs: nothing can open it`;
    return new LatchkeyError("token/threshold", message);
  }
  const opened = standings.filter(({ is }) => is === "opened").length;
  const needed = pin.threshold === 1 ? "the 1 share needed" : `the ${pin.threshold} shares needed`;
  const reasons = [...sharesByReason(standings)].map(([reason, shares]) => `${namesOf(shares)}: ${reason}`);
  if (pin.sharesLeftOut > 0) reasons.push(`${pin.sharesLeftOut} more shares were not looked at`);
  const message = [`opened ${opened} of ${needed}`, ...reasons].join("; ");
  const errors = standings.flatMap((standing) => ("error" in standing ? [standing] : []));
  const hint = errors.find(({ error }) => error.hint !== undefined)?.error.hint;
  return new LatchkeyError(
    errors.some((standing) => standing.is === "failed" && standing.isNoShare) ? "token/malformed" : "token/threshold",
    message.length > MAX_MESSAGE ? `${message.slice(0, MAX_MESSAGE)}…` : message,
    hint === undefined ? {} : { hint },
  );
}

function sharesByReason(standings: readonly ShareStanding[]): Map<string, number[]> {
  const shares = new Map<string, number[]>();
  for (const [index, standing] of standings.entries()) {
    if (standing.is === "opened") continue;
    const reason = "error" in standing ? standing.error.message : "not waited for any longer";
    shares.set(reason, [...(shares.get(reason) ?? []), index + 1]);
  }
  return shares;
}

function namesOf(numbers: readonly number[]): string {
  const [first = 0, second] = numbers;
  if (second === undefined) return `share ${first}`;
  return numbers.length > 8 ? `shares ${first} to ${numbers.at(-1)}` : `shares ${numbers.join(", ")}`;
}
