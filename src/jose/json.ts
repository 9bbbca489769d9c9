import { malformed } from "./malformed.ts";

/** A JSON object from outside: read its members with `member`, never by plain access. */
export type JsonObject = { readonly [name: string]: unknown };

/** Levels of nesting. The deepest thing clevis writes, a tang header, has seven; JSON.parse recurses, so this is checked first. */
const MAX_DEPTH = 32;

/** @param what names the text in messages */
export function parseJsonObject(bytes: Uint8Array, what: string): JsonObject {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw malformed(`${what} is not UTF-8`, cause);
  }
  checkDepth(text, what);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw malformed(`${what} is not JSON`); // without the cause: an engine's message may quote the text
  }
  if (!isJsonObject(value)) throw malformed(`${what} is JSON, but not an object`);
  return value;
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The member of that name, or undefined: `__proto__` and what else objects inherit are not members. */
export function member(object: JsonObject, name: string): unknown {
  return Object.hasOwn(object, name) ? object[name] : undefined;
}

export function objectMember(object: JsonObject, name: string, what: string): JsonObject {
  const value = member(object, name);
  if (value === undefined) throw malformed(`${what} has no ${name}`);
  if (!isJsonObject(value)) throw malformed(`${what}: ${name} is not an object`);
  return value;
}

export function stringMember(object: JsonObject, name: string, what: string): string {
  const value = member(object, name);
  if (value === undefined) throw malformed(`${what} has no ${name}`);
  if (typeof value !== "string") throw malformed(`${what}: ${name} is not a string`);
  return value;
}

export function arrayMember(object: JsonObject, name: string, what: string): readonly unknown[] {
  const value = member(object, name);
  if (value === undefined) throw malformed(`${what} has no ${name}`);
  if (!Array.isArray(value)) throw malformed(`${what}: ${name} is not a list`);
  return value;
}

/** JSON as clevis writes it (jansson with JSON_SORT_KEYS and JSON_COMPACT): members sorted by name, no spaces. */
export function sortedJson(value: unknown): string {
  return JSON.stringify(value, (_name, inner: unknown) =>
    isJsonObject(inner)
      ? Object.fromEntries(
          Object.keys(inner)
            .sort()
            .map((name) => [name, inner[name]]),
        )
      : inner,
  );
}

/** More often than `limit`? The first occurrences are enough to tell. */
function hasMoreThan(limit: number, character: string, text: string): boolean {
  let count = 0;
  for (let at = text.indexOf(character); at >= 0 && count <= limit; at = text.indexOf(character, at + 1)) count += 1;
  return count > limit;
}

function checkDepth(text: string, what: string): void {
  // What clevis writes has fewer brackets of either kind than that, wherever they are: it need not be read one by one.
  if (!hasMoreThan(MAX_DEPTH / 2, "{", text) && !hasMoreThan(MAX_DEPTH / 2, "[", text)) return;
  let depth = 0;
  let inString = false;
  for (let index = 0; index < text.length; index += 1) {
    const character = text[index];
    if (inString) {
      if (character === "\\") index += 1;
      else if (character === '"') inString = false;
    } else if (character === '"') {
      inString = true;
    } else if (character === "{" || character === "[") {
      depth += 1;
      if (depth > MAX_DEPTH) throw malformed(`${what} is JSON nested more than ${MAX_DEPTH} levels deep`);
    } else if (character === "}" || character === "]") {
      depth -= 1;
    }
  }
}
