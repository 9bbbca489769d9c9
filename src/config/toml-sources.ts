import { suggestion } from "./nearest.ts";
import { quoted } from "./parsed.ts";
import type { SourcePlan } from "./plan.ts";
import { allSourceKinds, type SourceEntry } from "./source-registry.ts";
import type { KeyPath } from "./toml-lines.ts";
import { type Document, originOf, printKey, wrong } from "./toml-table.ts";

/** A volume has a handful of ways in; more is a mistake. */
const maxSources = 16;

export const promptOnly: readonly SourcePlan[] = [{ kind: "prompt" }];

export interface VolumeSources {
  /** `sources = […]`; undefined where the key is missing or no list of names. */
  readonly names: readonly string[] | undefined;
  /** The tables of the sources, by name: `usb = {…}`. */
  readonly tables: ReadonlyMap<string, unknown>;
  readonly path: KeyPath;
}

/**
 * The sources of a volume, in its owner's order; undefined when nothing is said of them. Whatever is wrong with them, there is a way in: a volume whose sources are
 * all unusable is asked for, since a boot without any question would be worse than one without latchkey.
 */
export function readSources(
  { names, tables, path }: VolumeSources,
  registry: readonly SourceEntry[],
  document: Document,
): readonly SourcePlan[] | undefined {
  const listPath = [...path, "sources"];
  for (const kind of tables.keys()) {
    if (names?.includes(kind)) continue;
    if (registry.some((entry) => entry.kind === kind)) {
      wrong(document, [...path, kind], `set up here, but not named in ${printKey(listPath)}`);
    } else {
      notInThisVersion(document, [...path, kind], kind);
    }
  }
  if (names === undefined) return undefined;
  if (names.length === 0) wrong(document, listPath, "names no source");
  if (names.length > maxSources) wrong(document, listPath, `names more than ${maxSources} sources`);

  const seen = new Set<string>();
  const plans = names.slice(0, maxSources).flatMap((name, index) => {
    const namePath = [...listPath, index];
    if (seen.has(name)) {
      wrong(document, namePath, `names ${quoted(name)} twice`);
      return [];
    }
    seen.add(name);
    return readSource(name, namePath, [...path, name], tables.get(name), registry, document);
  });
  if (plans.length > 0) return plans;
  document.problems.add({
    severity: "warning",
    code: "config/invalid-value",
    origin: originOf(document, listPath),
    key: printKey(listPath),
    text: "no source is left, so the passphrase is asked for",
  });
  return promptOnly;
}

function readSource(
  name: string,
  namePath: KeyPath,
  tablePath: KeyPath,
  table: unknown,
  registry: readonly SourceEntry[],
  document: Document,
): readonly SourcePlan[] {
  const entry = registry.find(({ kind }) => kind === name);
  if (entry) {
    const outcome = entry.settings.safeParse(table);
    if (outcome.success) return outcome.data;
    for (const issue of outcome.error.issues) {
      const steps = issue.path.map((step) => (typeof step === "symbol" ? step.toString() : step));
      wrong(document, [...tablePath, ...steps], issue.message);
    }
  } else if (allSourceKinds.some((kind) => kind === name)) {
    notInThisVersion(document, namePath, name);
  } else {
    const hint = `${suggestion(name, allSourceKinds)}: known are ${allSourceKinds.join(", ")}`;
    wrong(document, namePath, `no such source ${quoted(name)}${hint}`);
  }
  return [];
}

function notInThisVersion(document: Document, path: KeyPath, kind: string): void {
  wrong(document, path, `this version of latchkey has no source "${kind}"`, "config/not-in-this-version");
}
