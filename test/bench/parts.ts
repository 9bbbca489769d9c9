import { countedBoots, wallBoots } from "./boots.ts";
import { clevisDracut, clevisInitramfs } from "./clevis-boots.ts";
import { buildInitrds, type Initrds } from "./initrds.ts";
import { poolBenchmark } from "./pool.ts";
import { remoteBenchmark } from "./remote.ts";
import { sizesBenchmark } from "./sizes.ts";
import { startBenchmark } from "./start.ts";
import { stickBenchmark } from "./stick.ts";
import type { Subject } from "./subject.ts";
import { tokensBenchmark } from "./tokens.ts";
import { unlockBenchmark } from "./unlock.ts";

/** Measures one thing, and gives its section of the page. */
export type Measure = (subject: Subject, initrds: () => Promise<Initrds>) => Promise<string>;

/** In the order of the page. */
export const parts = {
  unlock: unlockBenchmark,
  start: startBenchmark,
  tokens: tokensBenchmark,
  pool: poolBenchmark,
  stick: stickBenchmark,
  sizes: async (subject, initrds) => sizesBenchmark(subject.binary, await initrds()),
  "counted-boots": async (subject, initrds) => countedBoots(subject, await initrds()),
  "wall-boots": async (subject, initrds) => wallBoots(subject, await initrds()),
  "clevis-dracut": clevisDracut,
  "clevis-initramfs": clevisInitramfs,
  remote: remoteBenchmark,
} as const satisfies Record<string, Measure>;

export type Part = keyof typeof parts;

export const partNames = Object.keys(parts) as readonly Part[];

/** The initrds that several parts measure: made when the first needs them. */
export function sharedInitrds(subject: Subject): () => Promise<Initrds> {
  let built: Promise<Initrds> | undefined;
  return () => {
    built ??= buildInitrds(subject);
    return built;
  };
}
