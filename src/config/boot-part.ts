import type { Plan } from "./plan.ts";

/** The plan of a boot: without the volumes, and their pools, that wait until somebody asks for them (`noauto`). */
export function partForBoot(plan: Plan): Plan {
  const volumes = plan.volumes.filter(({ isOnDemand }) => isOnDemand !== true);
  const names = new Set(volumes.map(({ name }) => name));
  return { ...plan, volumes, pools: plan.pools.filter((pool) => pool.volumes.every((name) => names.has(name))) };
}
