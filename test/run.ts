/**
 * `npm test`: type check, linter, unit tests and VM boots; its last line is the sum over all of them.
 * `--unit` leaves the boots out.
 */
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { Glob } from "bun";

interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

const root = join(import.meta.dir, "..");
const scratch = mkdtempSync(join(tmpdir(), "latchkey-test-"));
const counts: Counts[] = [];

/** While one task makes its images, the machines of another boot; how many machines run at once is for schedule.ts to say. */
const TASKS_AT_ONCE = 2;

/** Runs to its end before it is heard: the words of two tasks would mix. */
async function run(command: readonly string[]): Promise<number> {
  const path = `${join(root, "node_modules/.bin")}:${process.env["PATH"]}`;
  const heard = join(scratch, `${crypto.randomUUID()}.log`);
  const log = openSync(heard, "wx");
  const child = Bun.spawn([...command], {
    cwd: root,
    stdio: ["ignore", log, log],
    env: { ...process.env, PATH: path },
  });
  closeSync(log);
  const status = await child.exited;
  console.log(`\n$ ${command.join(" ")}\n${readFileSync(heard, "utf8")}`);
  return status;
}

/** A step that either passes or fails as one. */
async function step(...command: string[]): Promise<void> {
  const passed = (await run(command)) === 0;
  counts.push({ passed: passed ? 1 : 0, failed: passed ? 0 : 1, skipped: 0 });
}

/** Test files under bun's runner; the counts come from its own report, and a run without one counts as failed. */
async function tests(name: string, files: readonly string[], options: readonly string[]): Promise<void> {
  const junit = join(scratch, `${name}.xml`);
  const status = await run(["bun", "test", ...options, "--reporter=junit", `--reporter-outfile=${junit}`, ...files]);
  const head = existsSync(junit) ? (/<testsuites [^>]*>/.exec(readFileSync(junit, "utf8"))?.[0] ?? "") : "";
  const number = (attribute: string): number => Number(new RegExp(`${attribute}="(\\d+)"`).exec(head)?.[1] ?? 0);
  const failed = number("failures");
  const skipped = number("skipped");
  counts.push({
    passed: number("tests") - failed - skipped,
    failed: status !== 0 && failed === 0 ? 1 : failed,
    skipped,
  });
}

/** Takes the tasks from the front, `TASKS_AT_ONCE` of them at a time. */
async function sideBySide(tasks: readonly (() => Promise<void>)[]): Promise<void> {
  const waiting = [...tasks];
  const lane = async (): Promise<void> => {
    for (let task = waiting.shift(); task !== undefined; task = waiting.shift()) await task();
  };
  await Promise.all(Array.from({ length: TASKS_AT_ONCE }, lane));
}

/** The files with most in them first: a long one must not be what everybody waits for in the end. */
function boots(): (() => Promise<void>)[] {
  const size = (file: string): number => statSync(join(root, file)).size;
  return inFolder("test/vm/**/*.vm.ts")
    .sort((one, other) => size(other) - size(one))
    .map((file) => () => tests(basename(file), [file], ["--timeout", "600000"]));
}

const inFolder = (pattern: string): string[] => [...new Glob(pattern).scanSync(root)].sort().map((file) => `./${file}`);

await step("tsc", "--noEmit");
await step("biome", "ci", "--colors=off", ".");
await step("bun", "scripts/docs.ts", "--check");
await sideBySide([
  () => tests("unit", inFolder("test/{unit,vm}/**/*.test.ts"), []),
  ...(process.argv.includes("--unit") ? [] : boots()),
  () => tests("nix", inFolder("test/nix/**/*.test.ts"), []),
]);

rmSync(scratch, { recursive: true, force: true });
const total = counts.reduce((sum, part) => ({
  passed: sum.passed + part.passed,
  failed: sum.failed + part.failed,
  skipped: sum.skipped + part.skipped,
}));
console.log(`\n${total.passed} passed, ${total.failed} failed${total.skipped > 0 ? `, ${total.skipped} skipped` : ""}`);
process.exit(total.failed === 0 ? 0 : 1);
