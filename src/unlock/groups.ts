import type { Plan, VolumePlan } from "../config/plan.ts";

/** Volumes that take one credential and open together or not at all: a pool, or a volume on its own. */
export interface Group {
  /** The pool's name, or the volume's. */
  readonly name: string;
  readonly isPool: boolean;
  readonly volumes: readonly VolumePlan[];
}

/** The groups of a plan, in the order of their first volumes. */
export function planGroups(plan: Plan): readonly Group[] {
  const byName = new Map(plan.volumes.map((volume) => [volume.name, volume]));
  const poolOf = new Map(plan.pools.flatMap((pool) => pool.volumes.map((name) => [name, pool] as const)));
  const groups = new Map<string, Group>();
  for (const volume of plan.volumes) {
    const pool = poolOf.get(volume.name);
    if (!pool) {
      groups.set(`volume ${volume.name}`, { name: volume.name, isPool: false, volumes: [volume] });
    } else if (!groups.has(`pool ${pool.name}`)) {
      const members = pool.volumes.map((name) => byName.get(name)).filter((member) => member !== undefined);
      groups.set(`pool ${pool.name}`, { name: pool.name, isPool: true, volumes: members });
    }
  }
  return [...groups.values()];
}
