import { parse } from "smol-toml";

/** The way to a value in a TOML document: keys of tables, numbers in arrays. */
export type KeyPath = readonly (string | number)[];

/** Finds the line of a key, so that an error about its value can name it: the TOML parser keeps no places. */
export interface KeyLines {
  /** The line of the key, or of the nearest table around it that is written down. */
  lineOf(path: KeyPath): number | undefined;
}

interface KeyNode {
  /** Where it was first named, in characters from the start. */
  at: number | undefined;
  readonly keys: Map<string, KeyNode>;
  readonly items: KeyNode[];
}

/** Deeper nesting than any configuration has; bounds the recursion. */
const maxDepth = 64;

/**
 * Walks a document that is known to be TOML 1.0. On anything else it stops where it no longer understands, and what it
 * has found until then stands.
 */
export function locateKeys(text: string): KeyLines {
  const root = newNode(undefined);
  new Scanner(text).document(root);
  const lineStarts = [...text.matchAll(/\n/g)].map((match) => match.index + 1);
  return {
    lineOf(path) {
      let node = root;
      let at = root.at;
      for (const step of path) {
        const next = typeof step === "number" ? node.items[step] : node.keys.get(step);
        if (next === undefined) break;
        node = next;
        at = node.at ?? at;
      }
      return at === undefined ? undefined : lineAt(lineStarts, at);
    },
  };
}

function newNode(at: number | undefined): KeyNode {
  return { at, keys: new Map(), items: [] };
}

/** How many lines start at or before a place, by halving. */
function lineAt(lineStarts: readonly number[], at: number): number {
  let low = 0;
  let high = lineStarts.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((lineStarts[middle] ?? 0) <= at) low = middle + 1;
    else high = middle;
  }
  return low + 1;
}

/** Thrown and caught in here only: this is no TOML after all. */
class NotToml extends Error {}

class Scanner {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  document(root: KeyNode): void {
    let table = root;
    try {
      for (;;) {
        this.#skip(/[ \t\r\n\ufeff]|#[^\n]*/y);
        if (this.#at >= this.#text.length) return;
        if (this.#text.startsWith("[[", this.#at)) table = this.#arrayHeader(root);
        else if (this.#text[this.#at] === "[") table = this.#header(root);
        else this.#keyAndValue(table, 0);
      }
    } catch (thrown) {
      if (!(thrown instanceof NotToml)) throw thrown;
    }
  }

  #header(root: KeyNode): KeyNode {
    const start = this.#at;
    this.#expect("[");
    const node = this.#walk(root, this.#key(), start);
    this.#expect("]");
    // A table may be named by [a.b] first and by [a] later: its own header is the better line.
    node.at = start;
    return node;
  }

  #arrayHeader(root: KeyNode): KeyNode {
    const start = this.#at;
    this.#expect("[[");
    const path = this.#key();
    this.#expect("]]");
    const parent = this.#walk(root, path.slice(0, -1), start);
    const list = childOf(parent, path.at(-1) ?? "", start);
    const item = newNode(start);
    list.items.push(item);
    return item;
  }

  #keyAndValue(table: KeyNode, depth: number): void {
    const start = this.#at;
    const node = this.#walk(table, this.#key(), start);
    this.#expect("=");
    this.#value(node, depth);
  }

  /** Down from a table; a step into an array of tables means its newest one (TOML 1.0, "Array of Tables"). */
  #walk(from: KeyNode, path: readonly string[], at: number): KeyNode {
    let node = from;
    for (const key of path) {
      const child = childOf(node, key, at);
      node = child.items.at(-1) ?? child;
    }
    return node;
  }

  #key(): readonly string[] {
    const path: string[] = [];
    do {
      this.#skip(/[ \t]/y);
      const quote = this.#text[this.#at];
      path.push(quote === '"' || quote === "'" ? this.#quotedKey(quote) : this.#take(/[A-Za-z0-9_-]+/y));
      this.#skip(/[ \t]/y);
    } while (this.#accept("."));
    return path;
  }

  #quotedKey(quote: string): string {
    const raw = this.#take(quote === '"' ? /"(?:[^"\\\n]|\\.)*"/y : /'[^'\n]*'/y);
    try {
      return Object.keys(parse(`${raw} = 0`))[0] ?? "";
    } catch {
      throw new NotToml();
    }
  }

  #value(node: KeyNode, depth: number): void {
    if (depth > maxDepth) throw new NotToml();
    this.#skip(/[ \t]/y);
    switch (this.#text[this.#at]) {
      case "{":
        this.#sequence("{", "}", () => this.#keyAndValue(node, depth + 1));
        break;
      case "[":
        this.#sequence("[", "]", () => {
          const item = newNode(this.#at);
          node.items.push(item);
          this.#value(item, depth + 1);
        });
        break;
      case '"':
        this.#string('"', /"(?:[^"\\\n]+|\\.)*"/y);
        break;
      case "'":
        this.#string("'", /'[^'\n]*'/y);
        break;
      default:
        this.#take(/[^,\]}#\r\n]+/y);
    }
  }

  /** On one line, or over several lines between three quotes, where up to two more belong to the string (TOML 1.0). */
  #string(quote: string, onOneLine: RegExp): void {
    const delimiter = quote.repeat(3);
    if (!this.#accept(delimiter)) {
      this.#take(onOneLine);
      return;
    }
    let end = -1;
    for (;;) {
      if (end < this.#at) end = this.#text.indexOf(delimiter, this.#at);
      if (end === -1) throw new NotToml();
      const escaped = quote === '"' ? this.#text.slice(this.#at, end).indexOf("\\") : -1;
      if (escaped === -1) break;
      this.#at += escaped + 2;
    }
    this.#at = end + delimiter.length;
    for (let more = 0; more < 2; more += 1) this.#accept(quote);
  }

  /** What stands between brackets or braces, separated by commas; a comma, comments and line ends may follow the last. */
  #sequence(open: string, close: string, element: () => void): void {
    const between = /[ \t\r\n]|#[^\n]*/y;
    this.#expect(open);
    for (;;) {
      this.#skip(between);
      if (this.#accept(close)) return;
      element();
      this.#skip(between);
      if (this.#accept(close)) return;
      this.#expect(",");
    }
  }

  #skip(pattern: RegExp): void {
    for (;;) {
      pattern.lastIndex = this.#at;
      const match = pattern.exec(this.#text);
      if (!match) return;
      this.#at = pattern.lastIndex;
    }
  }

  #take(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.#text);
    if (!match) throw new NotToml();
    this.#at = pattern.lastIndex;
    return match[0];
  }

  #accept(text: string): boolean {
    const isThere = this.#text.startsWith(text, this.#at);
    if (isThere) this.#at += text.length;
    return isThere;
  }

  #expect(text: string): void {
    if (!this.#accept(text)) throw new NotToml();
  }
}

function childOf(node: KeyNode, key: string, at: number): KeyNode {
  const known = node.keys.get(key);
  if (known) return known;
  const child = newNode(at);
  node.keys.set(key, child);
  return child;
}
