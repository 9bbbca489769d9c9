import type { Plan, PoolPlan } from "../config/plan.ts";
import { type LatchkeyError, oneLine } from "../system/errors.ts";
import { lookInside } from "../unlock/after-opening.ts";
import type { Finding } from "../unlock/compare-members.ts";
import { reportedError } from "../unlock/report.ts";
import { assembleMappings } from "./assemble.ts";
import { type Looked, stateOf } from "./look.ts";

/** A pool as it is now. */
export interface PoolStatus {
  readonly pool: PoolPlan;
  readonly open: readonly string[];
  readonly closed: readonly string[];
  /** Not there, unusable, or not encrypted: by name. */
  readonly others: ReadonlyMap<string, string>;
  /** What the filesystem inside says otherwise; of a pool only that is open. */
  readonly findings: readonly Finding[];
  readonly error: LatchkeyError | undefined;
}

/** The pools of a plan, from what was seen of its volumes. A pool of which nothing is closed is looked into. */
export async function poolStatus(plan: Plan, looked: readonly Looked[]): Promise<readonly PoolStatus[]> {
  return await Promise.all(
    plan.pools.map(async (pool) => {
      const members = looked.filter(({ volume }) => pool.volumes.includes(volume.name));
      const states = new Map(members.map((one) => [one.volume.name, stateOf(one)] as const));
      const inState = (state: string) => pool.volumes.filter((name) => states.get(name) === state);
      const [open, closed] = [inState("open"), inState("closed")];
      const others = new Map([...states].filter(([, state]) => state !== "open" && state !== "closed"));
      const comparison =
        open.length > 0 && closed.length === 0
          ? await lookInside(
              {
                name: pool.name,
                isPool: true,
                volumes: members.flatMap((one) =>
                  "found" in one && one.found.state === "open"
                    ? [{ name: one.volume.name, kind: one.volume.kind, uuid: one.found.uuid }]
                    : [],
                ),
                missing: [...others.keys()],
              },
              assembleMappings(),
            )
          : undefined;
      return { pool, open, closed, others, findings: comparison?.warnings ?? [], error: comparison?.error };
    }),
  );
}

/** `pool data: 1 of 3 open; closed: d2; d3: not there`, and what is odd about it. */
export function poolLines({ pool, open, closed, others, findings, error }: PoolStatus): readonly string[] {
  const rest = [
    ...(closed.length > 0 && open.length > 0 ? [`closed: ${closed.join(", ")}`] : []),
    ...[...others].map(([name, state]) => `${name}: ${state}`),
  ];
  const count = open.length === 0 ? "closed" : `${open.length} of ${pool.volumes.length} open`;
  const oddities = [...(error ? [error.message] : []), ...findings.map(({ text, hint }) => `${text} (${hint})`)];
  return [[`pool ${pool.name}: ${count}`, ...rest].join("; "), ...oddities.map((text) => `  ${oneLine(text)}`)];
}

export function poolFacts({ pool, open, closed, others, findings, error }: PoolStatus) {
  return {
    name: pool.name,
    volumes: pool.volumes,
    open,
    closed,
    others: Object.fromEntries(others),
    findings: findings.map(({ text, hint }) => ({ text, hint })),
    error: error ? reportedError(error) : null,
  };
}
