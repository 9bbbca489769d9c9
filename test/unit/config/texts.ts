import { expect } from "bun:test";
import fc from "fast-check";

/** Text as a broken or hostile file may hold it: any characters, control characters among them, and long stretches. */
export const anyText = fc.string({ unit: "grapheme", maxLength: 200 });

/** Text made of the pieces that a format's parser looks for, in any order: closer to the edges than random characters. */
export function textOf(...pieces: readonly string[]): fc.Arbitrary<string> {
  return fc
    .array(fc.oneof(fc.constantFrom(...pieces), fc.string({ maxLength: 3 })), { maxLength: 40 })
    .map((parts) => parts.join(""));
}

/** Messages stand in a report and on a console: one line, nothing that moves the cursor, not without end. */
export function expectOneLine(text: string): void {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that there are none is what is expected
  expect(text).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/);
  expect(text.length).toBeLessThan(2000);
}
