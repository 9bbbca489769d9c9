import { LatchkeyError } from "../system/errors.ts";
import { archiveName, expired, type Retention } from "./archive.ts";

/** Paths inside the filesystem, without a leading slash. */
export interface RootNames {
  /** The subvolume that is mounted as the root. */
  readonly root: string;
  /** The snapshot that a new root is made of. */
  readonly blank: string;
  /** The folder of old roots. */
  readonly archive: string;
}

/** What stands at a path: nothing, a subvolume, a folder that is none, or something else (a file, a symbolic link). */
export type Standing = "absent" | "subvolume" | "folder" | "other";

/** The filesystem as it is found. */
export interface Facts {
  readonly root: Standing;
  readonly blank: Standing;
  readonly archive: Standing;
  /** What an interrupted run left. */
  readonly leftOver: Standing;
  /** The names in the archive; empty where there is none. */
  readonly archived: readonly string[];
}

/** One change of the filesystem. The kernel does each of them whole or not at all. */
export type Step =
  | { readonly do: "make-folder"; readonly path: string }
  | { readonly do: "snapshot"; readonly of: string; readonly path: string }
  | { readonly do: "rename"; readonly from: string; readonly to: string }
  /** Both names change hands at once: there is no moment without a root. */
  | { readonly do: "exchange"; readonly one: string; readonly other: string }
  | { readonly do: "delete"; readonly path: string };

export interface BlankRootPlan {
  /** In this order; the run stops at the first that fails. */
  readonly steps: readonly Step[];
  /** Old roots that go afterwards; one that cannot be deleted is only a note. */
  readonly deletions: readonly Step[];
  /** Where the old root will be; undefined when there was none. */
  readonly archived: string | undefined;
}

/** Beside the root, so that it is on the same subvolume; nobody else uses such a name. */
export function leftOverName(root: string): string {
  return `${root}.latchkey-new`;
}

/**
 * The way to a blank root. A power cut after any step leaves a root in its place, the old one or the new one, and the next run
 * puts in order what is left: the temporary name may then hold the old root, so what is found there is archived, never deleted.
 * @param now names the old root
 * @throws LatchkeyError rollback/no-blank, rollback/foreign
 */
export function planBlankRoot(names: RootNames, facts: Facts, retention: Retention, now: Date): BlankRootPlan {
  checkStandings(names, facts);
  const { root, blank, archive } = names;
  const fresh = leftOverName(root);
  const taken = new Set(facts.archived);
  const made = new Set<string>();
  const steps: Step[] = [];
  const archiveAway = (from: string): string => {
    const name = archiveName(now, taken);
    taken.add(name);
    made.add(name);
    steps.push({ do: "rename", from, to: `${archive}/${name}` });
    return `${archive}/${name}`;
  };

  if (facts.archive === "absent") steps.push({ do: "make-folder", path: archive });
  if (facts.leftOver !== "absent") archiveAway(fresh);
  steps.push({ do: "snapshot", of: blank, path: fresh });
  let archived: string | undefined;
  if (facts.root === "absent") {
    steps.push({ do: "rename", from: fresh, to: root });
  } else {
    steps.push({ do: "exchange", one: fresh, other: root });
    archived = archiveAway(fresh);
  }
  const deletions = expired([...taken], now, retention, made).map(
    (name): Step => ({ do: "delete", path: `${archive}/${name}` }),
  );
  return { steps, deletions, archived };
}

function checkStandings({ root, blank, archive }: RootNames, facts: Facts): void {
  if (facts.blank === "absent") {
    throw new LatchkeyError("rollback/no-blank", `the filesystem has no ${blank} to make a new root of`, {
      hint: `make it once, while the root is as it shall be: bcachefs subvolume snapshot --read-only ${root} ${blank}`,
    });
  }
  const wanted: readonly (readonly [string, Standing, Standing])[] = [
    [blank, facts.blank, "subvolume"],
    [root, facts.root, "subvolume"],
    [leftOverName(root), facts.leftOver, "subvolume"],
  ];
  for (const [path, standing, kind] of wanted) {
    if (standing !== kind && standing !== "absent") throw foreign(path, standing, "a subvolume");
  }
  if (facts.archive === "other") throw foreign(archive, facts.archive, "a folder");
}

function foreign(path: string, standing: Standing, wanted: string): LatchkeyError {
  const what = standing === "folder" ? "a plain folder" : "no folder";
  return new LatchkeyError("rollback/foreign", `${path} is ${what} and not ${wanted}: nothing was changed`);
}

/** A step in words, for a dry run and for messages. */
export function stepText(step: Step): string {
  switch (step.do) {
    case "make-folder":
      return `make the folder ${step.path}`;
    case "snapshot":
      return `snapshot ${step.of} to ${step.path}`;
    case "rename":
      return `rename ${step.from} to ${step.to}`;
    case "exchange":
      return `exchange ${step.one} and ${step.other}`;
    case "delete":
      return `delete ${step.path}`;
  }
}
