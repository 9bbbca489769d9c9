import { type LatchkeyError, oneLine } from "../../system/errors.ts";
import type { WantedVolume } from "../source.ts";

/**
 * What a question says. Pure, and the only place with these words; they are shown on consoles of 80 columns, by Plymouth
 * and over SSH, so: one line, no colon at the end (each way adds its own), nothing from a disk label that could move a
 * cursor or run on without end.
 */

/** What happened to the question before this one. */
export type Before =
  | { readonly kind: "nothing" }
  | { readonly kind: "empty" }
  | { readonly kind: "too-long" }
  | { readonly kind: "cancelled" }
  | {
      readonly kind: "tried";
      readonly opened: readonly string[];
      readonly errors: ReadonlyMap<string, LatchkeyError>;
      /** Answers in a row that opened nothing, this one included. */
      readonly wrongAnswers: number;
    };

/** Columns for a volume's name, for its description, and for the reason of a failure. */
const NAME_WIDTH = 32;
const DESCRIPTION_WIDTH = 48;
const REASON_WIDTH = 120;

/** So many volumes are all named; of more, the first two. */
const NAMED_AT_MOST = 3;
const NAMED_OF_MANY = 2;

export function questionText(wanted: readonly WantedVolume[], before: Before): string {
  const ask = `passphrase for ${describe(wanted)}`;
  switch (before.kind) {
    case "nothing":
      return capital(ask);
    case "empty":
      return `Nothing was typed; ${ask}`;
    case "too-long":
      return `That was too long; ${ask}`;
    case "cancelled":
      return `Cancelled, asking again; ${ask}`;
    case "tried":
      return afterTry(wanted, before, ask);
  }
}

function afterTry(wanted: readonly WantedVolume[], before: Before & { kind: "tried" }, ask: string): string {
  const stillClosed = [...before.errors].filter(([name]) => wanted.some((volume) => volume.name === name));
  const wrong = stillClosed.filter(([, error]) => error.outcome === "wrong-credential").map(([name]) => name);
  const failures = stillClosed.filter(([, error]) => error.outcome !== "wrong-credential");
  const nextTry = before.wrongAnswers > 0 && wrong.length > 0 ? ` (${ordinal(before.wrongAnswers + 1)} try)` : "";
  if (before.opened.length === 0 && failures.length === 0 && wrong.length === wanted.length) {
    return `Wrong ${ask}, try again${nextTry}`;
  }
  const parts: string[] = [];
  if (before.opened.length > 0) parts.push(`that opened ${list(before.opened)}`);
  else if (wrong.length > 0) parts.push(`wrong passphrase for ${list(wrong)}`);
  const [first] = failures;
  if (first) parts.push(`${reason(...first)}${failures.length > 1 ? ` (and ${failures.length - 1} more)` : ""}`);
  return `${capital([...parts, ask].join("; "))}${nextTry}`;
}

/** The volumes a question is for, in few words; one alone is described, so that its owner knows the disk. */
export function describe(volumes: readonly WantedVolume[]): string {
  const [only] = volumes;
  if (volumes.length !== 1 || !only) return list(volumes.map((volume) => volume.name));
  const description = shown(only.description, DESCRIPTION_WIDTH);
  const name = shown(only.name, NAME_WIDTH);
  return description === "" ? name : `${name} (${description})`;
}

function list(names: readonly string[]): string {
  const all = names.map((name) => shown(name, NAME_WIDTH));
  if (all.length > NAMED_AT_MOST) {
    return `${all.slice(0, NAMED_OF_MANY).join(", ")} and ${all.length - NAMED_OF_MANY} more`;
  }
  const last = all.pop() ?? "";
  return all.length > 0 ? `${all.join(", ")} and ${last}` : last;
}

/** Why a volume did not open although the passphrase was not wrong, in the error's own words. */
function reason(name: string, error: LatchkeyError): string {
  const text = shown(error.message, REASON_WIDTH);
  return error.message.includes(name) ? text : `${shown(name, NAME_WIDTH)}: ${text}`;
}

/**
 * Words from outside, cut to a width in columns. Format characters go as well as control characters: those that turn the
 * direction of writing could make a label read like a part of our question.
 */
export function shown(text: string, width: number): string {
  const clean = oneLine(text.replace(/[\p{Cf}\p{Cs}\p{Co}]/gu, ""));
  if (Bun.stringWidth(clean) <= width) return clean;
  let cut = "";
  for (const { segment } of new Intl.Segmenter().segment(clean)) {
    if (Bun.stringWidth(cut + segment) > width - 3) break;
    cut += segment;
  }
  return `${cut}...`;
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function ordinal(count: number): string {
  const teens = count % 100 >= 11 && count % 100 <= 13;
  const ending = teens ? undefined : { 1: "st", 2: "nd", 3: "rd" }[count % 10];
  return `${count}${ending ?? "th"}`;
}
