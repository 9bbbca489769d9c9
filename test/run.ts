/**
 * `npm test`: type check, linter, unit tests and VM boots; its last line is the sum over all of them.
 * `--unit` leaves the boots out.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Glob } from "bun";

interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

const root = join(import.meta.dir, "..");
const scratch = mkdtempSync(join(tmpdir(), "latchkey-test-"));
const counts: Counts[] = [];

async function run(command: readonly string[]): Promise<number> {
  console.log(`\n$ ${command.join(" ")}`);
  const path = `${join(root, "node_modules/.bin")}:${process.env["PATH"]}`;
  const child = Bun.spawn([...command], {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, PATH: path },
  });
  return await child.exited;
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

const inFolder = (pattern: string): string[] => [...new Glob(pattern).scanSync(root)].sort().map((file) => `./${file}`);

await step("tsc", "--noEmit");
await step("biome", "ci", "--colors=off", ".");
await step("bun", "scripts/docs.ts", "--check");
await tests("unit", inFolder("test/{unit,vm}/**/*.test.ts"), []);
await tests("nix", inFolder("test/nix/**/*.test.ts"), []);
if (!process.argv.includes("--unit")) await tests("vm", inFolder("test/vm/**/*.vm.ts"), ["--timeout", "600000"]);

rmSync(scratch, { recursive: true, force: true });
const total = counts.reduce((sum, part) => ({
  passed: sum.passed + part.passed,
  failed: sum.failed + part.failed,
  skipped: sum.skipped + part.skipped,
}));
console.log(`\n${total.passed} passed, ${total.failed} failed${total.skipped > 0 ? `, ${total.skipped} skipped` : ""}`);
process.exit(total.failed === 0 ? 0 : 1);
