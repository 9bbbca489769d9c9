import type { Standing } from "../../../src/rollback/plan.ts";
import type { Tree } from "../../../src/rollback/run.ts";
import { LatchkeyError } from "../../../src/system/errors.ts";

/** What a path holds: a subvolume with its content in one word, or a folder. */
type Node = { readonly subvolume: string } | "folder" | "file";

/** A power cut: thrown before the change it stands for. */
export class PowerCut extends Error {}

/** A filesystem in memory that counts changes, can be cut off before any of them, and refuses what the kernel refuses. */
export class FakeTree implements Tree {
  readonly nodes: Map<string, Node>;
  /** Changes until the power goes. */
  powerFor = Number.POSITIVE_INFINITY;
  /** Subvolumes that hold others. */
  readonly occupied = new Set<string>();
  isSynced = false;

  constructor(nodes: Readonly<Record<string, Node>>) {
    this.nodes = new Map(Object.entries(nodes));
  }

  look(path: string): Standing {
    const node = this.nodes.get(path);
    if (node === undefined) return "absent";
    return node === "folder" ? "folder" : node === "file" ? "other" : "subvolume";
  }

  list(path: string): readonly string[] {
    const inside = [...this.nodes.keys()].filter((name) => name.startsWith(`${path}/`));
    return inside.map((name) => name.slice(path.length + 1)).filter((name) => !name.includes("/"));
  }

  makeFolder(path: string): void {
    this.#change();
    this.nodes.set(path, "folder");
  }

  snapshot(of: string, path: string): void {
    this.#change();
    const source = this.nodes.get(of);
    if (typeof source !== "object" || this.nodes.has(path))
      throw new LatchkeyError("rollback/failed", `snapshot ${of}`);
    this.nodes.set(path, source);
  }

  rename(from: string, to: string): void {
    this.#change();
    const node = this.nodes.get(from);
    if (node === undefined || this.nodes.has(to)) throw new LatchkeyError("rollback/failed", `rename ${from} to ${to}`);
    this.nodes.delete(from);
    this.nodes.set(to, node);
  }

  exchange(one: string, other: string): void {
    this.#change();
    const [first, second] = [this.nodes.get(one), this.nodes.get(other)];
    if (first === undefined || second === undefined) throw new LatchkeyError("rollback/failed", `exchange ${one}`);
    this.nodes.set(one, second);
    this.nodes.set(other, first);
  }

  deleteSubvolume(path: string): void {
    this.#change();
    if (this.occupied.has(path) || typeof this.nodes.get(path) !== "object") {
      throw new LatchkeyError("rollback/failed", `cannot delete ${path}: it holds subvolumes of its own (ENOTEMPTY)`);
    }
    this.nodes.delete(path);
  }

  sync(): void {
    this.isSynced = true;
  }

  #change(): void {
    if (this.powerFor <= 0) throw new PowerCut();
    this.powerFor -= 1;
  }
}
