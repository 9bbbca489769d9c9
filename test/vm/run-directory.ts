import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cacheDirectory } from "./cache.ts";

let count = 0;

/** A machine's own files: large ones in the cache, sockets in a short path because their names may have 107 bytes only. */
export interface RunDirectory extends Disposable {
  readonly files: string;
  readonly sockets: string;
}

export function runDirectory(): RunDirectory {
  const all = join(cacheDirectory, "runs");
  mkdirSync(all, { recursive: true });
  sweep(all);
  count += 1;
  const files = join(all, `${process.pid}-${count}`);
  rmSync(files, { recursive: true, force: true });
  mkdirSync(files);
  const sockets = mkdtempSync(join(tmpdir(), "latchkey-vm-"));
  return {
    files,
    sockets,
    [Symbol.dispose]: () => {
      for (const directory of [files, sockets]) rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** Removes what runs left behind that were killed; their names begin with the process id. */
function sweep(all: string): void {
  for (const name of readdirSync(all)) {
    const owner = name.split("-")[0] ?? "";
    if (!existsSync(join("/proc", owner))) rmSync(join(all, name), { recursive: true, force: true });
  }
}
