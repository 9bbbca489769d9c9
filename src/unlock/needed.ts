import type { Plan } from "../config/plan.ts";
import { planGroups } from "./groups.ts";

/**
 * The volumes without which the initrd cannot hand over to the system: the root's, those that the system's own files want open
 * there (fstab, crypttab, `rd.luks.*`), and the rest of their pools. Where these say nothing and the root may lie in any LUKS
 * volume, each of them counts that is not marked `nofail`.
 */
export function neededVolumes(plan: Plan): ReadonlySet<string> {
  const stated = plan.volumes.filter(({ isRoot, isForInitrd }) => isRoot || isForInitrd === true);
  const needed = stated.length > 0 ? stated : plan.volumes.filter(({ luks }) => luks && luks.mayFail !== true);
  const names = new Set(needed.map(({ name }) => name));
  const groups = planGroups(plan).filter(({ volumes }) => volumes.some(({ name }) => names.has(name)));
  return new Set(groups.flatMap(({ volumes }) => volumes.map(({ name }) => name)));
}
