import { readFileSync } from "node:fs";
import { join } from "node:path";

export const pagesFolder = join(import.meta.dir, "../../../docs/man");

/** A manual page in mdoc(7), as far as the tests look at it. */
export interface ManualPage {
  readonly name: string;
  /** The lines of each section, by heading, with `\-` written as `-`. */
  readonly sections: ReadonlyMap<string, readonly string[]>;
}

export function readPage(file: string): ManualPage {
  const sections = new Map<string, string[]>();
  let current: string[] = [];
  for (const line of readFileSync(join(pagesFolder, file), "utf8").trimEnd().split("\n")) {
    const heading = /^\.Sh (.+)$/.exec(line)?.[1];
    if (heading === undefined) current.push(line.replaceAll("\\-", "-").replaceAll("\\&", ""));
    else {
      current = [];
      sections.set(heading, current);
    }
  }
  return { name: file, sections };
}

export function section({ name, sections }: ManualPage, heading: string): readonly string[] {
  const lines = sections.get(heading);
  if (!lines) throw new Error(`${name} has no section ${heading}`);
  return lines;
}

/** What a list in a section has items for. */
export function items(lines: readonly string[]): readonly string[] {
  return lines.flatMap((line) => /^\.It (.+)$/.exec(line)?.[1] ?? []);
}

/** `Fl h , Fl -help` as a person reads it: `-h, --help`. */
export function flagsText(text: string): string {
  return text
    .replace(/\bFl (-?[a-z])/g, "-$1")
    .replaceAll(" ,", ",")
    .replaceAll(/\bAr (\S+)/g, "<$1>");
}

/** The long options that a line names, however it is marked up. */
export function longOptions(line: string): readonly string[] {
  return [...flagsText(line).matchAll(/(?<![\w-])--[a-z][a-z0-9-]*/g)].map(([option]) => option);
}

/** One way to call a command. */
export interface SynopsisForm {
  /** The last word of what is called: `tang` of `latchkey enroll tang`. */
  readonly name: string;
  readonly lines: readonly string[];
}

/** The synopsis, cut where the name of the program begins anew. */
export function synopsisForms(lines: readonly string[]): readonly SynopsisForm[] {
  const starts = lines.flatMap((line, index) => (line.startsWith(".Nm") ? index : []));
  return starts.map((start, index) => ({
    name: lines[start]?.split(" ").at(-1) ?? "",
    lines: lines.slice(start, starts[index + 1]),
  }));
}
