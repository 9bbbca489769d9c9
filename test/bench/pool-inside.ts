/**
 * Runs inside a machine, in its initrd, where device mapper is: opens the same pool by turns in the ways of the plan, each way a
 * series of fresh processes, and prints what each took. pool.ts bundles it and reads what it prints.  pool-inside.js PLAN.json
 */
import { readFileSync } from "node:fs";

/** One way to open the pool, as commands that run one after the other. */
export interface OpeningPlan {
  readonly name: string;
  readonly commands: readonly (readonly string[])[];
}

export interface PoolPlan {
  readonly openings: readonly OpeningPlan[];
  readonly rounds: number;
  /** Once uncounted before, so that none pays for reading the programs. */
  readonly isWarmedUp: boolean;
  /** Names of the mappings that each way has to leave. */
  readonly mappings: readonly string[];
}

export interface PoolRun {
  readonly wallMs: number;
  /** User and system time of the commands and of what they started: wait4(2). */
  readonly cpuMs: number;
}

/** By the name of the way, in the order of the rounds. */
export type PoolRuns = Readonly<Record<string, readonly PoolRun[]>>;

export const poolSays = { begin: "vm: pool begin", end: "vm: pool end", failed: "vm: pool failed" } as const;

function run(command: readonly string[]): number {
  const ended = Bun.spawnSync([...command], { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  if (!ended.success) throw new Error(`${command.join(" ")}: status ${ended.exitCode}: ${ended.stderr}`);
  return Number(ended.resourceUsage.cpuTime.total) / 1000;
}

/** Opens, sees that all is open, and closes again; only the opening counts. */
function open({ commands }: OpeningPlan, mappings: readonly string[]): PoolRun {
  const started = performance.now();
  const cpuMs = commands.reduce((sum, command) => sum + run(command), 0);
  const wallMs = performance.now() - started;
  for (const mapping of mappings) run(["cryptsetup", "status", mapping]);
  for (const mapping of mappings) run(["cryptsetup", "close", mapping]);
  return { wallMs, cpuMs };
}

function hold({ openings, rounds, isWarmedUp, mappings }: PoolPlan): PoolRuns {
  if (isWarmedUp) for (const opening of openings) open(opening, mappings);
  const runs: Record<string, PoolRun[]> = Object.fromEntries(openings.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round += 1) {
    for (const opening of openings) runs[opening.name]?.push(open(opening, mappings));
  }
  return runs;
}

if (import.meta.main) {
  try {
    const runs = hold(JSON.parse(readFileSync(process.argv[2] ?? "", "utf8")) as PoolPlan);
    console.log(`\n${poolSays.begin}\n${JSON.stringify(runs)}\n${poolSays.end}`);
  } catch (thrown) {
    console.log(`\n${poolSays.failed}: ${String(thrown)}\n`);
  }
}
