import { LatchkeyError } from "../system/errors.ts";

/** Something that is not what its standard says. `text` names the part and what is wrong with it. */
export function malformed(text: string, cause?: unknown): LatchkeyError {
  return new LatchkeyError("token/malformed", text, cause === undefined ? {} : { cause });
}

/** Something that may be valid, but names an algorithm or extension that latchkey does not have. */
export function unsupported(text: string): LatchkeyError {
  return new LatchkeyError("token/unsupported", text);
}

/** A word out of a token for a message: cut short and in quotes; the error takes out control characters. */
export function quote(text: string): string {
  const short = text.length > 64 ? `${text.slice(0, 64)}…` : text;
  return JSON.stringify(short);
}
