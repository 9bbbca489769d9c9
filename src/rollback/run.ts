import { asLatchkeyError, LatchkeyError } from "../system/errors.ts";
import type { Retention } from "./archive.ts";
import {
  type BlankRootPlan,
  type Facts,
  leftOverName,
  planBlankRoot,
  type RootNames,
  type Standing,
  type Step,
  stepText,
} from "./plan.ts";

/** The changes a mounted filesystem can be asked for; tests bring one of their own. Each throws LatchkeyError rollback/failed. */
export interface Tree {
  look(path: string): Standing;
  /** Names in a folder, or none where it is not there. */
  list(path: string): readonly string[];
  /** The folder, and those on the way to it. */
  makeFolder(path: string): void;
  /** A writable snapshot. */
  snapshot(of: string, path: string): void;
  /** Never over something that is there. */
  rename(from: string, to: string): void;
  exchange(one: string, other: string): void;
  deleteSubvolume(path: string): void;
  /** What was done until now is on the disk afterwards. */
  sync(): void;
}

export interface BlankRootResult {
  /** Where the old root is now; undefined when there was none. */
  readonly archived: string | undefined;
  readonly deleted: readonly string[];
  /** Old roots that could not be deleted, each with its reason. */
  readonly notes: readonly string[];
}

/** Looks and plans; changes nothing. @throws LatchkeyError as planBlankRoot */
export function planOn(tree: Tree, names: RootNames, retention: Retention, now: Date): BlankRootPlan {
  const facts: Facts = {
    root: tree.look(names.root),
    blank: tree.look(names.blank),
    archive: tree.look(names.archive),
    leftOver: tree.look(leftOverName(names.root)),
    archived: tree.list(names.archive),
  };
  return planBlankRoot(names, facts, retention, now);
}

/**
 * Puts a blank root in place.
 * @throws LatchkeyError of the step that failed; the root is then the old one, or the new one when only the archiving failed
 */
export function carryOut(tree: Tree, plan: BlankRootPlan): BlankRootResult {
  for (const step of plan.steps) carryOutStep(tree, step);
  tree.sync();
  const deleted: string[] = [];
  const notes: string[] = [];
  for (const step of plan.deletions) {
    if (step.do !== "delete") throw new LatchkeyError("internal/defect", `${stepText(step)} is no deletion`);
    try {
      tree.deleteSubvolume(step.path);
      deleted.push(step.path);
    } catch (thrown) {
      notes.push(asLatchkeyError(thrown).message);
    }
  }
  return { archived: plan.archived, deleted, notes };
}

function carryOutStep(tree: Tree, step: Step): void {
  switch (step.do) {
    case "make-folder":
      tree.makeFolder(step.path);
      break;
    case "snapshot":
      tree.snapshot(step.of, step.path);
      break;
    case "rename":
      tree.rename(step.from, step.to);
      break;
    case "exchange":
      tree.exchange(step.one, step.other);
      break;
    case "delete":
      tree.deleteSubvolume(step.path);
      break;
  }
}
