import { closeSync, openSync, readFileSync, readSync } from "node:fs";

const PAGE = 4096;
/** Bytes read at a time; what straddles two reads is found by an overlap of one page. */
const CHUNK = 4 * 1024 * 1024;

export interface Hit {
  readonly what: string;
  readonly where: string;
}

/**
 * Looks for byte strings in everything another process could write to: heap, stacks of all threads, its own pages. Needs
 * the right to trace it: a child of ours, or root. Pages that were never touched are skipped by /proc/PID/pagemap.
 */
export function findInMemory(pid: number, needles: Readonly<Record<string, Uint8Array>>): readonly Hit[] {
  const memory = openSync(`/proc/${pid}/mem`, "r");
  const pagemap = openSync(`/proc/${pid}/pagemap`, "r");
  const hits: Hit[] = [];
  try {
    for (const { start, end, name } of writableRanges(pid)) {
      for (const run of presentRuns(pagemap, start, end)) {
        for (let at = run.start; at < run.end; at += CHUNK) {
          const chunk = Buffer.alloc(Math.min(CHUNK + PAGE, run.end - at));
          const length = readTolerantly(memory, chunk, at);
          const read = chunk.subarray(0, length);
          for (const [what, needle] of Object.entries(needles)) {
            const offset = read.indexOf(needle);
            if (offset >= 0) hits.push({ what, where: `${(at + offset).toString(16)} ${name}` });
          }
        }
      }
    }
  } finally {
    closeSync(memory);
    closeSync(pagemap);
  }
  return hits;
}

interface Range {
  readonly start: number;
  readonly end: number;
}

function writableRanges(pid: number): readonly (Range & { readonly name: string })[] {
  return readFileSync(`/proc/${pid}/maps`, "utf8")
    .split("\n")
    .flatMap((line) => {
      const parts = /^([0-9a-f]+)-([0-9a-f]+) rw\S+ \S+ \S+ \S+ *(.*)$/.exec(line);
      if (!parts) return [];
      const [, start = "", end = "", name = ""] = parts;
      return [{ start: Number.parseInt(start, 16), end: Number.parseInt(end, 16), name: name || "anonymous" }];
    });
}

/** Runs of pages that are in memory or swapped out, bits 63 and 62 of a pagemap entry. */
function* presentRuns(pagemap: number, start: number, end: number): Generator<Range> {
  const entries = Buffer.alloc(64 * 1024);
  let runStart: number | undefined;
  for (let at = start; at < end; ) {
    const wanted = Math.min(entries.length, ((end - at) / PAGE) * 8);
    const length = readSync(pagemap, entries, 0, wanted, (at / PAGE) * 8);
    if (length === 0) break;
    for (let entry = 7; entry < length; entry += 8, at += PAGE) {
      const isPresent = ((entries[entry] ?? 0) & 0xc0) !== 0;
      if (isPresent) runStart ??= at;
      else if (runStart !== undefined) {
        yield { start: runStart, end: at };
        runStart = undefined;
      }
    }
  }
  if (runStart !== undefined) yield { start: runStart, end };
}

/** The kernel refuses a few special pages; they hold nothing of ours. */
function readTolerantly(memory: number, room: Buffer, at: number): number {
  try {
    return readSync(memory, room, 0, room.length, at);
  } catch {
    return 0;
  }
}
