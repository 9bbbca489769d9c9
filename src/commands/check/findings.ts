import { exitStatus, oneLine } from "../../system/errors.ts";

/** `problem`: the next boot would not do what is configured. `warning`: it may not, or somebody should know. */
export type Severity = "ok" | "warning" | "problem";

export type Topic = "configuration" | "crypttab" | "volume" | "source" | "image" | "remote";

/** One thing that was looked at. */
export interface Finding {
  readonly about: Topic;
  /** The volume, also of a source; the kernel of an image. */
  readonly of?: string;
  readonly severity: Severity;
  /** One sentence. */
  readonly text: string;
  readonly hint?: string;
}

const marks: Readonly<Record<Severity, string>> = { ok: "[ok]  ", warning: "[warn]", problem: "[fail]" };

/** Grouped by what they are about, in the order in which the groups begin; the last line counts. */
export function findingLines(findings: readonly Finding[]): readonly string[] {
  const groups = Map.groupBy(findings, groupOf);
  const lines = [...groups].flatMap(([group, members]) => [
    oneLine(group),
    ...members.flatMap(({ severity, text, hint }, index) => [
      `${marks[severity]} ${oneLine(text)}`,
      // Once below those that it is for.
      ...(hint === undefined || hint === members[index + 1]?.hint ? [] : [`       hint: ${oneLine(hint)}`]),
    ]),
    "",
  ]);
  return [...lines, summary(findings)];
}

function groupOf({ about, of }: Finding): string {
  if (about === "source") return `volume ${of}`;
  return of === undefined ? about : `${about} ${of}`;
}

function summary(findings: readonly Finding[]): string {
  const count = (severity: Severity, word: string): string => {
    const number = findings.filter((finding) => finding.severity === severity).length;
    return `${number === 0 ? "no" : number} ${word}${number === 1 ? "" : "s"}`;
  };
  return `${count("problem", "problem")}, ${count("warning", "warning")}`;
}

/** 78 for a mistake in the configuration, 1 for any other problem; warnings are no failure. */
export function checkStatus(findings: readonly Finding[]): number {
  const problems = findings.filter(({ severity }) => severity === "problem");
  if (problems.some(({ about }) => about === "configuration")) return exitStatus.configuration;
  return problems.length > 0 ? exitStatus.failed : exitStatus.done;
}

/** For JSON: every member is there. */
export function findingFacts({ about, of, severity, text, hint }: Finding) {
  return { about, of: of ?? null, severity, text: oneLine(text), hint: hint ?? null };
}
