/**
 * `npm run bench`: measures latchkey beside what is used without it, and prints a page of figures. Nothing here passes or
 * fails by a time.  main.ts [--write] [--beside-others] [--pairs N] [PART…]
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { repository } from "../vm/cache.ts";
import { allGuestSlots } from "../vm/schedule.ts";
import { readWish } from "./command-line.ts";
import { circumstances, load } from "./environment.ts";
import { pageWith, stamped } from "./page.ts";
import { partNames, parts, sharedInitrds } from "./parts.ts";
import { makeSubject } from "./subject.ts";

const PAGE = join(repository, "docs/bench.md");
const USAGE = 64;

const readPage = (): string => (existsSync(PAGE) ? readFileSync(PAGE, "utf8") : "");

const wish = readWish(process.argv.slice(2), partNames);
if (!wish) {
  console.error("usage: main.ts [--write] [--beside-others] [--pairs N] [PART…]");
  console.error(`where PART is one of ${partNames.join(", ")}`);
  process.exit(USAGE);
}

using subject = await makeSubject(wish.pairs);
// Whoever measures does so alone: no test's machine may start meanwhile.
using _ = wish.isBeside ? undefined : await allGuestSlots();
const facts = await circumstances(subject);
const initrds = sharedInitrds(subject);
for (const part of wish.parts) {
  const before = load();
  const started = performance.now();
  console.error(`bench: ${part}…`);
  try {
    const section = await parts[part](subject, initrds);
    const date = new Date().toISOString().slice(0, 10);
    const company = wish.isBeside ? " and other work beside it: a trial" : "";
    const text = stamped(section, [`measured ${date}`, `load average ${before}${company}`, ...facts]);
    process.stdout.write(`${text}\n\n`);
    // At once: what comes after it may fail or be interrupted.
    if (wish.isWriting) writeFileSync(PAGE, pageWith(readPage(), new Map([[part, text]]), partNames));
  } catch (thrown) {
    process.exitCode = 1;
    console.error(`bench: ${part} failed, its section stays as it was:`, thrown);
  }
  console.error(`bench: ${part} took ${Math.round((performance.now() - started) / 1000)} s`);
}
