import { suggestion } from "./nearest.ts";
import { quoted } from "./parsed.ts";
import type { SourcePlan, VolumeKind } from "./plan.ts";
import { allSourceKinds, type Remark, type SourceEntry } from "./source-registry.ts";
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
  /** Of the volume, where it is known. */
  readonly kind?: VolumeKind | undefined;
}

/**
 * The sources of a volume, in its owner's order; undefined when nothing is said of them. Whatever is wrong with them, there is a way in: a volume whose sources are
 * all unusable is asked for, since a boot without any question would be worse than one without latchkey.
 */
export function readSources(
  { names, tables, path, kind: volumeKind }: VolumeSources,
  registry: readonly SourceEntry[],
  document: Document,
): readonly SourcePlan[] | undefined {
  const listPath = [...path, "sources"];
  for (const kind of tables.keys()) {
    if (names?.includes(kind)) continue;
    wrong(document, [...path, kind], `set up here, but not named in ${printKey(listPath)}`);
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
    const plansOfSource = readSource(name, namePath, [...path, name], tables.get(name), registry, document);
    return plansOfSource.flatMap(({ plan, path: planPath }) => {
      const remark = registry.find((entry) => entry.kind === name)?.judge?.(plan, volumeKind);
      if (remark) note(remark, planPath, document);
      return remark?.severity === "error" ? [] : [plan];
    });
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
): readonly PlanAt[] {
  const entry = registry.find(({ kind }) => kind === name);
  if (!entry) {
    const hint = `${suggestion(name, allSourceKinds)}: known are ${allSourceKinds.join(", ")}`;
    wrong(document, namePath, `no such source ${quoted(name)}${hint}`);
    return [];
  }
  if (table === undefined) return readSettings(entry, table, namePath, document, `${name}: `);
  const most = entry.mostTables;
  if (most === undefined || !Array.isArray(table)) return readSettings(entry, table, tablePath, document);
  if (table.length === 0) wrong(document, tablePath, "the list is empty");
  if (table.length > most) wrong(document, tablePath, `more than ${most} of them`);
  return table.slice(0, most).flatMap((one, index) => readSettings(entry, one, [...tablePath, index], document));
}

/** A source with its settings, and where those stand. */
interface PlanAt {
  readonly plan: SourcePlan;
  readonly path: KeyPath;
}

function readSettings(
  entry: SourceEntry,
  table: unknown,
  path: KeyPath,
  document: Document,
  who = "",
): readonly PlanAt[] {
  const outcome = entry.settings.safeParse(table);
  if (outcome.success) return outcome.data.map((plan) => ({ plan, path }));
  for (const issue of outcome.error.issues) {
    const steps = issue.path.map((step) => (typeof step === "symbol" ? step.toString() : step));
    wrong(document, [...path, ...steps], `${who}${issue.message}`);
  }
  return [];
}

function note({ severity, code, key, text }: Remark, path: KeyPath, document: Document): void {
  const keyPath = key === undefined ? path : [...path, key];
  document.problems.add({ severity, code, origin: originOf(document, keyPath), key: printKey(keyPath), text });
}
