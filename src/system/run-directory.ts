import {
  chmodSync,
  closeSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { LatchkeyError } from "./errors.ts";

/** Where a running latchkey keeps its state; on a tmpfs, moved along to the booted system at switch-root. */
export const RUN_DIRECTORY = "/run/latchkey";

/** The directory for run-time state: 0700, made when missing, never a link to somewhere else. */
export class RunDirectory {
  readonly path: string;

  constructor(path: string = RUN_DIRECTORY) {
    this.path = path;
  }

  /** @throws LatchkeyError when something else is in its place or it cannot be made */
  create(): void {
    try {
      mkdirSync(this.path, { recursive: true, mode: 0o700 });
      if (!lstatSync(this.path).isDirectory()) throw new Error("not a directory");
      chmodSync(this.path, 0o700);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : "unknown";
      throw new LatchkeyError("system/run-directory", `cannot use ${this.path}: ${reason}`, { cause });
    }
  }

  /**
   * Writes a file whole or not at all.
   * @param mode permission bits; the report is for root alone
   */
  write(name: string, content: string, mode = 0o600): void {
    const target = join(this.path, name);
    const draft = `${target}.${process.pid}.new`;
    try {
      const file = openSync(draft, "w", mode);
      try {
        const bytes = new TextEncoder().encode(content);
        for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at);
        fsyncSync(file);
      } finally {
        closeSync(file);
      }
      renameSync(draft, target);
    } catch (cause) {
      rmSync(draft, { force: true });
      const reason = cause instanceof Error ? cause.message : "unknown";
      throw new LatchkeyError("system/run-directory", `cannot write ${target}: ${reason}`, { cause });
    }
  }

  /** Takes a file away; that there is none is fine. */
  remove(name: string): void {
    rmSync(this.file(name), { force: true });
  }

  file(name: string): string {
    return join(this.path, name);
  }
}
