/**
 * Runs inside the guest, where both rivals are at home: commands in pairs A B A B, each a fresh process that the kernel itself takes the
 * time of. contest.ts bundles it, starts it there, and reads what it prints.  inside.js PLAN.json
 */
import { readFileSync } from "node:fs";
import { kernelKeyring } from "../../src/keyutils-ffi/keyring.ts";

export interface Contest {
  readonly name: string;
  /** Two commands that do the same work. */
  readonly commands: readonly [readonly string[], readonly string[]];
  readonly pairs: number;
  /** As many further pairs for the peak of memory. */
  readonly memoryPairs?: number;
  /** A key that each run has to leave in the user keyring, and that is taken out again before the next. */
  readonly key?: string;
}

export interface Run {
  readonly wallMs: number;
  /** User and system time, of all threads: wait4(2). */
  readonly cpuMs: number;
  readonly output: string;
}

export interface ContestResult {
  readonly name: string;
  readonly runs: readonly [readonly Run[], readonly Run[]];
  readonly peakKib: readonly [readonly number[], readonly number[]];
}

function forget(key: string): boolean {
  const serial = kernelKeyring.search("user", "user", key);
  if (serial === undefined) return false;
  kernelKeyring.unlink(serial, "user");
  return true;
}

function run(command: readonly string[], key: string | undefined): Run & { readonly errors: string } {
  if (key !== undefined) forget(key);
  const started = performance.now();
  const ended = Bun.spawnSync([...command], { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  const wallMs = performance.now() - started;
  const errors = ended.stderr.toString();
  if (!ended.success) throw new Error(`${command.join(" ")}: status ${ended.exitCode}: ${errors}`);
  if (key !== undefined && !forget(key)) throw new Error(`${command.join(" ")} left no key ${key}`);
  const cpuMs = Number(ended.resourceUsage.cpuTime.total) / 1000;
  return { wallMs, cpuMs, output: ended.stdout.toString(), errors };
}

/**
 * Through busybox, which is small: what wait4(2) calls a process's peak includes that of the process it was forked from, and ours is
 * larger than any of the programs measured.
 */
function peakKib(command: readonly string[], key: string | undefined): number {
  const { errors } = run(["busybox", "time", "-f", "peak %M", ...command], key);
  return Number(/^peak (\d+)$/m.exec(errors)?.[1]);
}

function hold(contest: Contest): ContestResult {
  const [a, b] = contest.commands;
  const { key, name, pairs, memoryPairs = 0 } = contest;
  // Once uncounted, so that neither pays for reading the files.
  for (const command of [a, b]) run(command, key);
  const runs: [Run[], Run[]] = [[], []];
  for (let pair = 0; pair < pairs; pair += 1) {
    runs[0].push(run(a, key));
    runs[1].push(run(b, key));
  }
  const peaks: [number[], number[]] = [[], []];
  for (let pair = 0; pair < memoryPairs; pair += 1) {
    peaks[0].push(peakKib(a, key));
    peaks[1].push(peakKib(b, key));
  }
  return { name, runs, peakKib: peaks };
}

const plan = JSON.parse(readFileSync(process.argv[2] ?? "", "utf8")) as readonly Contest[];
console.log(JSON.stringify(plan.map(hold)));
