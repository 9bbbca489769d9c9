/**
 * Runs VM tests: `bun test/vm/run.ts [FILE…] [bun test's options]`; without a file, all of them. Files and cases start side by side, and
 * schedule.ts lets as many guests run as the machine bears.
 */
import { join } from "node:path";
import { Glob } from "bun";
import { dyingWithUs } from "./command.ts";

const given = process.argv.slice(2);
const hasFiles = given.some((word) => word.endsWith(".ts"));
const all = [...new Glob("**/*.vm.ts").scanSync(import.meta.dir)].sort().map((file) => join(import.meta.dir, file));
const child = Bun.spawn([...dyingWithUs([process.execPath, "test", ...given, ...(hasFiles ? [] : all)])], {
  stdio: ["ignore", "inherit", "inherit"],
});
process.exit(await child.exited);
