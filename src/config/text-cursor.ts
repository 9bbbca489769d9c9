/** A place in a text that moves forward as a reader takes what it expects. Patterns are sticky (`/…/y`). */
export class TextCursor {
  readonly text: string;
  at = 0;
  readonly #mismatch: () => Error;

  /** @param mismatch what is thrown where something else stands than a reader must have */
  constructor(text: string, mismatch: () => Error) {
    this.text = text;
    this.#mismatch = mismatch;
  }

  /** The character here; undefined at the end. */
  get next(): string | undefined {
    return this.text[this.at];
  }

  /** Goes past what matches, again and again: a pattern for one piece needs no stack for many. */
  skip(pattern: RegExp): void {
    for (;;) {
      pattern.lastIndex = this.at;
      if (!pattern.test(this.text) || pattern.lastIndex === this.at) return;
      this.at = pattern.lastIndex;
    }
  }

  take(pattern: RegExp): string {
    pattern.lastIndex = this.at;
    const match = pattern.exec(this.text);
    if (!match) throw this.#mismatch();
    this.at = pattern.lastIndex;
    return match[0];
  }

  /** Goes past the text if it stands here. */
  accept(text: string): boolean {
    const isThere = this.text.startsWith(text, this.at);
    if (isThere) this.at += text.length;
    return isThere;
  }

  expect(text: string): void {
    if (!this.accept(text)) throw this.#mismatch();
  }
}
