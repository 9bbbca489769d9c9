/**
 * Runs VM tests: `bun test/vm/run.ts [FILE…] [bun test's options]`; without a file, all of them. Files and cases start side by side, and
 * schedule.ts lets as many guests run as the machine bears.
 */
import { join, resolve } from "node:path";
import { Glob } from "bun";
import { dyingWithUs } from "./command.ts";

// A bare "a.vm.ts" is a filter on names of *.test.ts files to bun; a full path is that file.
const given = process.argv.slice(2).map((word) => (word.endsWith(".ts") ? resolve(word) : word));
const hasFiles = given.some((word) => word.endsWith(".ts"));
const all = [...new Glob("**/*.vm.ts").scanSync(import.meta.dir)].sort().map((file) => join(import.meta.dir, file));
const child = Bun.spawn([...dyingWithUs([process.execPath, "test", ...given, ...(hasFiles ? [] : all)])], {
  stdio: ["ignore", "inherit", "inherit"],
});
process.exit(await child.exited);
