/** A stretch of a text, from `start` up to `end`. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** `key = value`, as it stands in the text. */
export interface Pair {
  readonly key: readonly string[];
  /** From the key to the end of the value. */
  readonly span: Span;
  readonly value: Span;
  /** Present where the value is a list. */
  readonly items?: readonly Span[];
}

/** A table with its header; the pairs before the first header are in a table without one. */
export interface Table {
  readonly path: readonly string[];
  readonly header?: Span;
  /** `[[…]]` */
  readonly isItem: boolean;
  readonly pairs: readonly Pair[];
}

/** Thrown and caught in here only: the text is no TOML, or a kind of it that is not understood here. */
class NotUnderstood extends Error {}

/**
 * Where everything stands in a TOML document that is known to parse; undefined where this reader does not understand it, and then
 * nobody edits it. (The parser keeps no places.)
 */
export function findTables(text: string): readonly Table[] | undefined {
  try {
    return new Reader(text).tables();
  } catch (thrown) {
    if (thrown instanceof NotUnderstood) return undefined;
    throw thrown;
  }
}

const BLANKS = /(?:[ \t\r\n\ufeff]|#[^\n]*)*/y;
const BLANKS_IN_LINE = /[ \t]*/y;
const BARE_KEY = /[A-Za-z0-9_-]+/y;
const LITERAL = /'[^'\n]*'/y;
const BASIC = /"(?:[^"\\\n]|\\.)*"/y;
const SCALAR = /[^,\]}#\r\n]+/y;
const MAX_DEPTH = 32;

class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  tables(): readonly Table[] {
    let pairs: Pair[] = [];
    const tables: Table[] = [{ path: [], isItem: false, pairs }];
    for (;;) {
      this.#skip(BLANKS);
      if (this.#at >= this.#text.length) return tables;
      if (this.#text[this.#at] !== "[") {
        pairs.push(this.#pair());
        continue;
      }
      const start = this.#at;
      const isItem = this.#text.startsWith("[[", start);
      this.#expect(isItem ? "[[" : "[");
      const path = this.#key();
      this.#expect(isItem ? "]]" : "]");
      pairs = [];
      tables.push({ path, isItem, header: { start, end: this.#at }, pairs });
    }
  }

  #pair(): Pair {
    const start = this.#at;
    const key = this.#key();
    this.#expect("=");
    this.#skip(BLANKS_IN_LINE);
    const valueStart = this.#at;
    const items = this.#value(0);
    return {
      key,
      span: { start, end: this.#at },
      value: { start: valueStart, end: this.#at },
      ...(items === undefined ? {} : { items }),
    };
  }

  #key(): readonly string[] {
    const path: string[] = [];
    for (;;) {
      this.#skip(BLANKS_IN_LINE);
      const quote = this.#text[this.#at];
      if (quote === '"') path.push(JSON.parse(this.#take(BASIC)) as string);
      else if (quote === "'") path.push(this.#take(LITERAL).slice(1, -1));
      else path.push(this.#take(BARE_KEY));
      this.#skip(BLANKS_IN_LINE);
      if (this.#text[this.#at] !== ".") return path;
      this.#at += 1;
    }
  }

  /** Goes past a value. @returns the places of its items, if it is a list */
  #value(depth: number): readonly Span[] | undefined {
    if (depth > MAX_DEPTH) throw new NotUnderstood();
    const first = this.#text[this.#at];
    if (first === "[") return this.#sequence("[", "]", () => this.#value(depth + 1));
    if (first === "{") {
      this.#sequence("{", "}", () => {
        this.#key();
        this.#expect("=");
        this.#skip(BLANKS_IN_LINE);
        this.#value(depth + 1);
      });
    } else if (first === '"' || first === "'") {
      // Three quotes: strings of several lines are in no setting of ours.
      if (this.#text.startsWith(first.repeat(3), this.#at)) throw new NotUnderstood();
      this.#take(first === '"' ? BASIC : LITERAL);
    } else {
      this.#take(SCALAR);
      while (/\s/.test(this.#text[this.#at - 1] ?? "")) this.#at -= 1;
    }
    return undefined;
  }

  #sequence(open: string, close: string, element: () => void): readonly Span[] {
    const items: Span[] = [];
    this.#expect(open);
    for (;;) {
      this.#skip(BLANKS);
      if (this.#accept(close)) return items;
      const start = this.#at;
      element();
      items.push({ start, end: this.#at });
      this.#skip(BLANKS);
      if (this.#accept(close)) return items;
      this.#expect(",");
    }
  }

  #skip(pattern: RegExp): void {
    pattern.lastIndex = this.#at;
    if (pattern.test(this.#text)) this.#at = pattern.lastIndex;
  }

  #take(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.#text);
    if (!match) throw new NotUnderstood();
    this.#at = pattern.lastIndex;
    return match[0];
  }

  #accept(text: string): boolean {
    const isThere = this.#text.startsWith(text, this.#at);
    if (isThere) this.#at += text.length;
    return isThere;
  }

  #expect(text: string): void {
    if (!this.#accept(text)) throw new NotUnderstood();
  }
}
