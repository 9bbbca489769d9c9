import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { leftOverName, type RootNames, stepText } from "../../../src/rollback/plan.ts";
import { type BlankRootResult, carryOut, planOn } from "../../../src/rollback/run.ts";
import { FakeTree, PowerCut } from "./fake-tree.ts";

const names: RootNames = { root: "root", blank: "blank", archive: "old-roots" };
const fresh = leftOverName(names.root);
const retention = { keep: 10, keepDays: 30 };
const at = (second: number): Date => new Date(Date.UTC(2026, 10, 22, 8, 0, second));

function blankRoot(tree: FakeTree, second = 0, kept = retention): BlankRootResult {
  return carryOut(tree, planOn(tree, names, kept, at(second)));
}

const content = (tree: FakeTree, path: string): string | undefined => {
  const node = tree.nodes.get(path);
  return typeof node === "object" ? node.subvolume : undefined;
};
const old = (second: number): string => `old-roots/2026-11-22T08-00-${String(second).padStart(2, "0")}Z`;
const usual = () => new FakeTree({ root: { subvolume: "used" }, blank: { subvolume: "empty" } });

describe("a blank root", () => {
  test("takes the old one's place, which goes to the archive", () => {
    const tree = usual();
    expect(blankRoot(tree)).toEqual({ archived: old(0), deleted: [], notes: [] });
    expect(Object.fromEntries(tree.nodes)).toEqual({
      root: { subvolume: "empty" },
      blank: { subvolume: "empty" },
      "old-roots": "folder",
      [old(0)]: { subvolume: "used" },
    });
    expect(tree.isSynced).toBe(true);
  });

  test("is made in steps that leave a root in place after each of them", () => {
    const { steps } = planOn(usual(), names, retention, at(0));
    expect(steps.map(stepText)).toEqual([
      "make the folder old-roots",
      "snapshot blank to root.latchkey-new",
      "exchange root.latchkey-new and root",
      `rename root.latchkey-new to ${old(0)}`,
    ]);
  });

  test("is made where there is none", () => {
    const tree = new FakeTree({ blank: { subvolume: "empty" } });
    expect(blankRoot(tree).archived).toBeUndefined();
    expect(content(tree, "root")).toBe("empty");
    expect(tree.nodes.has(fresh)).toBe(false);
  });

  test("is made again and again, and old ones go by number", () => {
    const tree = usual();
    const results = [0, 1, 2, 3].map((second) => blankRoot(tree, second, { keep: 2, keepDays: 30 }));
    expect(results.map(({ deleted }) => deleted)).toEqual([[], [], [old(0)], [old(1)]]);
    expect(tree.list("old-roots")).toEqual([old(2), old(3)].map((path) => path.slice("old-roots/".length)));
  });

  test("keeps the root it took off, also while the clock stands before all the others", () => {
    const tree = usual();
    for (const second of [10, 11, 12]) blankRoot(tree, second);
    const result = blankRoot(tree, 0, { keep: 3, keepDays: 30 });
    expect(result).toEqual({ archived: old(0), deleted: [old(10)], notes: [] });
  });

  test("leaves an old root that cannot be deleted, and says so", () => {
    const tree = usual();
    blankRoot(tree, 0);
    tree.occupied.add(old(0));
    const result = blankRoot(tree, 1, { keep: 1, keepDays: 30 });
    expect(result.notes).toEqual([`cannot delete ${old(0)}: it holds subvolumes of its own (ENOTEMPTY)`]);
    expect(content(tree, "root")).toBe("empty");
  });

  test("what an interrupted run left may be the old root: it is archived", () => {
    const tree = new FakeTree({
      root: { subvolume: "empty" },
      [fresh]: { subvolume: "used" },
      blank: { subvolume: "empty" },
    });
    blankRoot(tree);
    expect([old(0), `${old(0)}.2`].map((path) => content(tree, path))).toEqual(["used", "empty"]);
  });

  test.each([
    ["no blank snapshot", { root: { subvolume: "used" } }, "rollback/no-blank"],
    ["a blank that is a plain folder", { root: { subvolume: "used" }, blank: "folder" }, "rollback/foreign"],
    ["a root that is a plain folder", { root: "folder", blank: { subvolume: "empty" } }, "rollback/foreign"],
    ["a link in the root's place", { root: "file", blank: { subvolume: "empty" } }, "rollback/foreign"],
    [
      "a file in the archive's place",
      { ...{ root: { subvolume: "u" }, blank: { subvolume: "e" } }, "old-roots": "file" },
      "rollback/foreign",
    ],
  ] as const)("changes nothing with %s", (_, nodes, code) => {
    const tree = new FakeTree(nodes);
    expect(() => blankRoot(tree)).toThrow(expect.objectContaining({ code }));
    expect(Object.fromEntries(tree.nodes)).toEqual({ ...nodes });
  });

  test("after power cuts at any steps of any boots there is a root, and nothing that was in one is lost", () => {
    const boots = fc.array(fc.nat({ max: 7 }), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(boots, (powers) => {
        const tree = new FakeTree({ root: { subvolume: "life 0" }, blank: { subvolume: "empty" } });
        const lives = new Set(["life 0"]);
        for (const [boot, power] of powers.entries()) {
          tree.powerFor = power;
          try {
            blankRoot(tree, boot, { keep: 1000, keepDays: 365 });
          } catch (thrown) {
            if (!(thrown instanceof PowerCut)) throw thrown;
          }
          tree.powerFor = Number.POSITIVE_INFINITY;
          const root = content(tree, "root");
          expect(root).toBeDefined();
          // The system runs and writes to whichever root it got.
          if (root === "empty") {
            tree.nodes.set("root", { subvolume: `life ${boot + 1}` });
            lives.add(`life ${boot + 1}`);
          }
          const all = [...tree.nodes.values()].flatMap((node) => (typeof node === "object" ? [node.subvolume] : []));
          for (const life of lives) expect(all).toContain(life);
        }
        blankRoot(tree, 59, { keep: 1000, keepDays: 365 });
        expect(content(tree, "root")).toBe("empty");
        expect(tree.nodes.has(fresh)).toBe(false);
      }),
    );
  });
});
