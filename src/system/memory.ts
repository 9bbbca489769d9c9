import { readFileSync } from "node:fs";

const KIBIBYTE = 1024;

/**
 * Octets that programs can still have without swapping: MemAvailable of /proc/meminfo, proc_meminfo(5). Zero where it cannot be
 * read, so that whoever plans with it plans for the least.
 */
export function availableMemory(file = "/proc/meminfo"): number {
  try {
    return parseAvailable(readFileSync(file, "utf8"));
  } catch {
    return 0;
  }
}

export function parseAvailable(meminfo: string): number {
  const [, kibibytes] = /^MemAvailable:\s+(\d{1,15}) kB$/m.exec(meminfo) ?? [];
  return Number(kibibytes ?? 0) * KIBIBYTE;
}
