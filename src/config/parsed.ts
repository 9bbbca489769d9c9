import { oneLine } from "../system/errors.ts";

/** What a parser of one value makes of it: the value, or one clause saying why it is none (`expected …, got "x"`). */
export type Parsed<T> = { readonly value: T } | { readonly problem: string };

/** Longer than any name that means something; keeps a pasted file out of a message. */
const maxQuotedLength = 80;

/** Text from a file for a message: in quotes, on one line, with an end. */
export function quoted(text: string): string {
  const characters = [...oneLine(text)];
  const short =
    characters.length <= maxQuotedLength ? characters.join("") : `${characters.slice(0, maxQuotedLength).join("")}…`;
  return `"${short}"`;
}

/** Characters that break a line, move the cursor, or stand for bytes that are no UTF-8: no name holds them. */
export function holdsUnprintable(text: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this looks for
  return /[\u0000-\u001f\u007f-\u009f\u2028\u2029\ufffd]/.test(text) || !text.isWellFormed();
}
