import { parse } from "smol-toml";
import { TextCursor } from "./text-cursor.ts";

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
  readonly #cursor: TextCursor;

  constructor(text: string) {
    this.#cursor = new TextCursor(text, () => new NotToml());
  }

  document(root: KeyNode): void {
    let table = root;
    try {
      for (;;) {
        this.#cursor.skip(/[ \t\r\n\ufeff]|#[^\n]*/y);
        if (this.#cursor.at >= this.#cursor.text.length) return;
        if (this.#cursor.text.startsWith("[[", this.#cursor.at)) table = this.#arrayHeader(root);
        else if (this.#cursor.next === "[") table = this.#header(root);
        else this.#keyAndValue(table, 0);
      }
    } catch (thrown) {
      if (!(thrown instanceof NotToml)) throw thrown;
    }
  }

  #header(root: KeyNode): KeyNode {
    const start = this.#cursor.at;
    this.#cursor.expect("[");
    const node = this.#walk(root, this.#key(), start);
    this.#cursor.expect("]");
    // A table may be named by [a.b] first and by [a] later: its own header is the better line.
    node.at = start;
    return node;
  }

  #arrayHeader(root: KeyNode): KeyNode {
    const start = this.#cursor.at;
    this.#cursor.expect("[[");
    const path = this.#key();
    this.#cursor.expect("]]");
    const parent = this.#walk(root, path.slice(0, -1), start);
    const list = childOf(parent, path.at(-1) ?? "", start);
    const item = newNode(start);
    list.items.push(item);
    return item;
  }

  #keyAndValue(table: KeyNode, depth: number): void {
    const start = this.#cursor.at;
    const node = this.#walk(table, this.#key(), start);
    this.#cursor.expect("=");
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
      this.#cursor.skip(/[ \t]/y);
      const quote = this.#cursor.next;
      path.push(quote === '"' || quote === "'" ? this.#quotedKey(quote) : this.#cursor.take(/[A-Za-z0-9_-]+/y));
      this.#cursor.skip(/[ \t]/y);
    } while (this.#cursor.accept("."));
    return path;
  }

  #quotedKey(quote: string): string {
    const raw = this.#cursor.take(quote === '"' ? /"(?:[^"\\\n]|\\.)*"/y : /'[^'\n]*'/y);
    try {
      return Object.keys(parse(`${raw} = 0`))[0] ?? "";
    } catch {
      throw new NotToml();
    }
  }

  #value(node: KeyNode, depth: number): void {
    if (depth > maxDepth) throw new NotToml();
    this.#cursor.skip(/[ \t]/y);
    switch (this.#cursor.next) {
      case "{":
        this.#sequence("{", "}", () => this.#keyAndValue(node, depth + 1));
        break;
      case "[":
        this.#sequence("[", "]", () => {
          const item = newNode(this.#cursor.at);
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
        this.#cursor.take(/[^,\]}#\r\n]+/y);
    }
  }

  /** On one line, or over several lines between three quotes, where up to two more belong to the string (TOML 1.0). */
  #string(quote: string, onOneLine: RegExp): void {
    const delimiter = quote.repeat(3);
    if (!this.#cursor.accept(delimiter)) {
      this.#cursor.take(onOneLine);
      return;
    }
    let end = -1;
    for (;;) {
      if (end < this.#cursor.at) end = this.#cursor.text.indexOf(delimiter, this.#cursor.at);
      if (end === -1) throw new NotToml();
      const escaped = quote === '"' ? this.#cursor.text.slice(this.#cursor.at, end).indexOf("\\") : -1;
      if (escaped === -1) break;
      this.#cursor.at += escaped + 2;
    }
    this.#cursor.at = end + delimiter.length;
    for (let more = 0; more < 2; more += 1) this.#cursor.accept(quote);
  }

  /** What stands between brackets or braces, separated by commas; a comma, comments and line ends may follow the last. */
  #sequence(open: string, close: string, element: () => void): void {
    const between = /[ \t\r\n]|#[^\n]*/y;
    this.#cursor.expect(open);
    for (;;) {
      this.#cursor.skip(between);
      if (this.#cursor.accept(close)) return;
      element();
      this.#cursor.skip(between);
      if (this.#cursor.accept(close)) return;
      this.#cursor.expect(",");
    }
  }
}

function childOf(node: KeyNode, key: string, at: number): KeyNode {
  const known = node.keys.get(key);
  if (known) return known;
  const child = newNode(at);
  node.keys.set(key, child);
  return child;
}
