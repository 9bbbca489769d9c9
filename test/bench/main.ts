/**
 * `npm run bench`: measures latchkey beside what is used without it, and prints a page of figures. Nothing here passes or
 * fails by a time.  main.ts [--write] [unlock] [start] [tokens] [pool] [stick] [sizes] [counted-boots] [remote] [wall-boots] [clevis-boots]
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { repository } from "../vm/cache.ts";
import { countedBoots, wallBoots } from "./boots.ts";
import { clevisBoots } from "./clevis-boots.ts";
import { environment, load } from "./environment.ts";
import { buildInitrds, type Initrds } from "./initrds.ts";
import { poolBenchmark } from "./pool.ts";
import { remoteBenchmark } from "./remote.ts";
import { sizesBenchmark } from "./sizes.ts";
import { startBenchmark } from "./start.ts";
import { stickBenchmark } from "./stick.ts";
import { makeSubject, type Subject } from "./subject.ts";
import { tokensBenchmark } from "./tokens.ts";
import { unlockBenchmark } from "./unlock.ts";

const PAGE = "docs/bench.md";
const USAGE = 64;

/** In the order of the page. */
const parts = {
  unlock: unlockBenchmark,
  start: startBenchmark,
  tokens: tokensBenchmark,
  pool: poolBenchmark,
  stick: stickBenchmark,
  sizes: async (subject, initrds) => sizesBenchmark(subject.binary, await initrds()),
  "counted-boots": async (subject, initrds) => countedBoots(subject, await initrds()),
  remote: async (subject) => remoteBenchmark(subject),
  "wall-boots": async (subject, initrds) => wallBoots(subject, await initrds()),
  "clevis-boots": clevisBoots,
} as const satisfies Record<string, (subject: Subject, initrds: () => Promise<Initrds>) => Promise<string>>;

const isPart = (word: string): word is keyof typeof parts => Object.hasOwn(parts, word);

const words = process.argv.slice(2);
const isWriting = words.includes("--write");
const chosen = words.filter(isPart);
if (words.some((word) => word !== "--write" && !isPart(word)) || (isWriting && chosen.length > 0)) {
  console.error(`usage: main.ts [--write | PART…], where PART is one of ${Object.keys(parts).join(", ")}`);
  process.exit(USAGE);
}

using subject = await makeSubject();
let built: Promise<Initrds> | undefined;
/** Made when a part needs them, and the same for all parts. */
const initrds = (): Promise<Initrds> => {
  built ??= buildInitrds(subject);
  return built;
};
const sections: string[] = [];
const loads: string[] = [];
const failures: unknown[] = [];
for (const [name, measure] of Object.entries(parts)) {
  if (chosen.length > 0 && !chosen.some((one) => one === name)) continue;
  loads.push(`${name} ${load()}`);
  const started = performance.now();
  console.error(`bench: ${name}…`);
  try {
    sections.push(await measure(subject, initrds));
  } catch (thrown) {
    failures.push(thrown);
    console.error(`bench: ${name} failed:`, thrown);
    sections.push(`<!-- ${name} failed -->\n`);
  }
  console.error(`bench: ${name} took ${Math.round((performance.now() - started) / 1000)} s`);
}

const page = `# Measured

<!-- made by \`npm run bench -- --write\` -->

latchkey beside what is used without it, in one run on one machine, in alternating pairs: latchkey, the other, latchkey, the other.
Each figure is a median, with the range of the middle half behind it, or with fewer than eight values from the lowest to the highest.
The ratio is that of the two figures of each pair; below 1 the first column needs less.

${await environment(subject, loads)}

${sections.join("\n")}`;

process.stdout.write(page);
if (isWriting && failures.length === 0) writeFileSync(join(repository, PAGE), page);
process.exitCode = failures.length === 0 ? 0 : 1;
