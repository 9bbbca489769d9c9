import type { z } from "zod";
import type { ErrorCode } from "../system/error-table.ts";
import { suggestion } from "./nearest.ts";
import { quoted } from "./parsed.ts";
import type { Origin } from "./plan.ts";
import type { ProblemList } from "./problems.ts";
import type { KeyLines, KeyPath } from "./toml-lines.ts";

/** The schema of each key that a table may have. */
export type Shape = Readonly<Record<string, z.ZodType>>;
export type ReadTable<S extends Shape> = {
  readonly [K in keyof S]?: z.output<S[K]>;
};

/** What reading a document takes along: where it is from, where its keys are, what was wrong so far. */
export interface Document {
  readonly file: string;
  readonly lines: KeyLines;
  readonly problems: ProblemList;
}

/**
 * The keys of one table that are as they should be. What is not is named and left out, each key by itself, so that at boot
 * one mistyped setting does not take its neighbours with it (a schema of the whole document would).
 */
export function readTable<S extends Shape>(value: unknown, shape: S, path: KeyPath, document: Document): ReadTable<S> {
  if (!isTable(value)) {
    wrong(document, path, "expected a table");
    return {};
  }
  const result: Record<string, unknown> = {};
  for (const [key, content] of Object.entries(value)) {
    const schema = Object.hasOwn(shape, key) ? shape[key] : undefined;
    if (schema === undefined) {
      if (document.problems.isFull) continue;
      wrong(document, [...path, key], `unknown key${suggestion(key, Object.keys(shape))}`, "config/unknown-key");
      continue;
    }
    const outcome = schema.safeParse(content);
    if (outcome.success) result[key] = outcome.data;
    else for (const issue of outcome.error.issues) wrong(document, [...path, key, ...steps(issue.path)], issue.message);
  }
  return result as ReadTable<S>;
}

/** Notes an error at the line of its key. */
export function wrong(
  document: Document,
  path: KeyPath,
  text: string,
  code: Extract<ErrorCode, `config/${string}`> = "config/invalid-value",
): void {
  document.problems.add({ severity: "error", code, origin: originOf(document, path), key: printKey(path), text });
}

export function originOf({ file, lines }: Document, path: KeyPath): Origin {
  const line = lines.lineOf(path);
  return line === undefined ? { file } : { file, line };
}

/** `volumes.root.device`; a place in a list is told by the line, not here. */
export function printKey(path: KeyPath): string {
  const names = path.filter((step) => typeof step === "string");
  return names.map((name) => (/^[A-Za-z0-9_-]+$/.test(name) ? clipped(name) : quoted(name))).join(".");
}

export function isTable(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Date);
}

function clipped(name: string): string {
  return name.length <= 80 ? name : `${name.slice(0, 80)}…`;
}

function steps(path: readonly PropertyKey[]): KeyPath {
  return path.map((step) => (typeof step === "symbol" ? step.toString() : step));
}
