import type { LuksPlan, Plan, VolumePlan } from "../config/plan.ts";
import { planGroups } from "./groups.ts";

/**
 * The volumes without which the initrd cannot hand over to the system: the root's, those that the system's own files want open
 * there (fstab, crypttab, `rd.luks.*`), and the rest of their pools. Where these say nothing and the root may lie in any LUKS
 * volume, each of them counts that is not marked `nofail`; one that comes over the network only where there is no other.
 */
export function neededVolumes(plan: Plan): ReadonlySet<string> {
  const stated = plan.volumes.filter(({ isRoot, isForInitrd }) => isRoot || isForInitrd === true);
  const needed = stated.length > 0 ? stated : perhapsRoot(plan);
  const names = new Set(needed.map(({ name }) => name));
  const groups = planGroups(plan).filter(({ volumes }) => volumes.some(({ name }) => names.has(name)));
  return new Set(groups.flatMap(({ volumes }) => volumes.map(({ name }) => name)));
}

function perhapsRoot({ volumes }: Plan): readonly VolumePlan[] {
  const candidates = volumes.filter(({ luks }) => luks && luks.mayFail !== true);
  const local = candidates.filter(({ luks }) => luks?.needsNetwork !== true);
  return local.length > 0 ? local : candidates;
}

/** Volumes that the boot goes on without (`nofail`, `_netdev`), with all of their pool, and that the initrd does not need. */
export function volumesThatMayWait(plan: Plan): ReadonlySet<string> {
  const needed = neededVolumes(plan);
  const groups = planGroups(plan).filter(({ volumes }) =>
    volumes.every(({ name, luks }) => !needed.has(name) && luks !== undefined && isEndured(luks)),
  );
  return new Set(groups.flatMap(({ volumes }) => volumes.map(({ name }) => name)));
}

function isEndured({ mayFail, needsNetwork }: LuksPlan): boolean {
  return mayFail === true || needsNetwork === true;
}
