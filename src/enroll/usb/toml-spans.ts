import { TextCursor } from "../../config/text-cursor.ts";

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

const BLANKS = /[ \t\r\n\ufeff]+|#[^\n]*/y;
const BLANKS_IN_LINE = /[ \t]+/y;
const BARE_KEY = /[A-Za-z0-9_-]+/y;
const LITERAL = /'[^'\n]*'/y;
const BASIC = /"(?:[^"\\\n]|\\.)*"/y;
const SCALAR = /[^,\]}#\r\n]+/y;
const MAX_DEPTH = 32;

class Reader {
  readonly #cursor: TextCursor;

  constructor(text: string) {
    this.#cursor = new TextCursor(text, () => new NotUnderstood());
  }

  tables(): readonly Table[] {
    let pairs: Pair[] = [];
    const tables: Table[] = [{ path: [], isItem: false, pairs }];
    for (;;) {
      this.#cursor.skip(BLANKS);
      if (this.#cursor.at >= this.#cursor.text.length) return tables;
      if (this.#cursor.next !== "[") {
        pairs.push(this.#pair());
        continue;
      }
      const start = this.#cursor.at;
      const isItem = this.#cursor.text.startsWith("[[", start);
      this.#cursor.expect(isItem ? "[[" : "[");
      const path = this.#key();
      this.#cursor.expect(isItem ? "]]" : "]");
      pairs = [];
      tables.push({ path, isItem, header: { start, end: this.#cursor.at }, pairs });
    }
  }

  #pair(): Pair {
    const start = this.#cursor.at;
    const key = this.#key();
    this.#cursor.expect("=");
    this.#cursor.skip(BLANKS_IN_LINE);
    const valueStart = this.#cursor.at;
    const items = this.#value(0);
    return {
      key,
      span: { start, end: this.#cursor.at },
      value: { start: valueStart, end: this.#cursor.at },
      ...(items === undefined ? {} : { items }),
    };
  }

  #key(): readonly string[] {
    const path: string[] = [];
    for (;;) {
      this.#cursor.skip(BLANKS_IN_LINE);
      const quote = this.#cursor.next;
      if (quote === '"') path.push(JSON.parse(this.#cursor.take(BASIC)) as string);
      else if (quote === "'") path.push(this.#cursor.take(LITERAL).slice(1, -1));
      else path.push(this.#cursor.take(BARE_KEY));
      this.#cursor.skip(BLANKS_IN_LINE);
      if (this.#cursor.next !== ".") return path;
      this.#cursor.at += 1;
    }
  }

  /** Goes past a value. @returns the places of its items, if it is a list */
  #value(depth: number): readonly Span[] | undefined {
    if (depth > MAX_DEPTH) throw new NotUnderstood();
    const first = this.#cursor.next;
    if (first === "[") return this.#sequence("[", "]", () => this.#value(depth + 1));
    if (first === "{") {
      this.#sequence("{", "}", () => {
        this.#key();
        this.#cursor.expect("=");
        this.#cursor.skip(BLANKS_IN_LINE);
        this.#value(depth + 1);
      });
    } else if (first === '"' || first === "'") {
      // Three quotes: strings of several lines are in no setting of ours.
      if (this.#cursor.text.startsWith(first.repeat(3), this.#cursor.at)) throw new NotUnderstood();
      this.#cursor.take(first === '"' ? BASIC : LITERAL);
    } else {
      this.#cursor.take(SCALAR);
      while (/\s/.test(this.#cursor.text[this.#cursor.at - 1] ?? "")) this.#cursor.at -= 1;
    }
    return undefined;
  }

  #sequence(open: string, close: string, element: () => void): readonly Span[] {
    const items: Span[] = [];
    this.#cursor.expect(open);
    for (;;) {
      this.#cursor.skip(BLANKS);
      if (this.#cursor.accept(close)) return items;
      const start = this.#cursor.at;
      element();
      items.push({ start, end: this.#cursor.at });
      this.#cursor.skip(BLANKS);
      if (this.#cursor.accept(close)) return items;
      this.#cursor.expect(",");
    }
  }
}
