import { readdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import { basename } from "node:path";

/** Layers of mappings, RAID and partitions: no machine has more, and a loop has no end. */
const MAX_LAYERS = 32;

/** Where things are; tests point them at folders. */
interface Roots {
  readonly proc: string;
  readonly sys: string;
  /** The name of a block device as in /sys/class/block, by a path of its node; undefined for what is none. */
  nameOf(path: string): string | undefined;
}

/**
 * The names of all block devices below a mount point, as in /sys/class/block: the one that is mounted, and what it is built
 * on. Undefined where that cannot be told: an overlay, a network, a kind with a pool of its own.
 */
export function devicesBelow(mountPoint: string, roots: Roots = thisMachine): ReadonlySet<string> | undefined {
  const source = mountSource(mountPoint, roots);
  return source === undefined ? undefined : withSlaves(source, roots.sys);
}

/** The same for a device, by a path of its node; undefined for what is none. */
export function devicesBelowNode(path: string, roots: Roots = thisMachine): ReadonlySet<string> | undefined {
  const name = roots.nameOf(path);
  return name === undefined ? undefined : withSlaves(name, roots.sys);
}

function withSlaves(source: string, sys: string): ReadonlySet<string> {
  const names = new Set<string>();
  let layer = [source];
  for (let depth = 0; depth < MAX_LAYERS && layer.length > 0; depth += 1) {
    for (const name of layer) names.add(name);
    layer = layer.flatMap((name) => slavesOf(name, sys)).filter((name) => !names.has(name));
  }
  return names;
}

/** The block device that proc_pid_mountinfo(5) names last for the mount point; btrfs has no device number of its own. */
function mountSource(mountPoint: string, { proc, nameOf }: Roots): string | undefined {
  let text: string;
  try {
    text = readFileSync(`${proc}/self/mountinfo`, "utf8");
  } catch {
    return undefined;
  }
  const line = text.split("\n").findLast((each) => each.split(" ")[4] === mountPoint);
  const device = line?.split(" - ")[1]?.split(" ")[1];
  return device?.startsWith("/") ? nameOf(device.replaceAll("\\040", " ")) : undefined;
}

function slavesOf(name: string, sys: string): readonly string[] {
  try {
    return readdirSync(`${sys}/class/block/${name}/slaves`);
  } catch {
    return [];
  }
}

const thisMachine: Roots = {
  proc: "/proc",
  sys: "/sys",
  nameOf: (path) => {
    try {
      const node = realpathSync(path);
      return statSync(node).isBlockDevice() ? basename(node) : undefined;
    } catch {
      return undefined;
    }
  },
};
