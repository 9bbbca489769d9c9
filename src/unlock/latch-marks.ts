import { mkdirSync, readdirSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { LatchkeyError } from "../system/errors.ts";
import { RUN_DIRECTORY, RunDirectory } from "../system/run-directory.ts";

/** A folder with a file for each volume that the boot left closed, while the PCR waits for them. */
const WAITING = "latch-waits-for";
/** The PCR is extended, or somebody is about to do it. */
const DONE = "latched";

/**
 * What runs of latchkey at one boot tell each other about the PCR that is extended once everything is open. An empty folder can be
 * taken away only once: of several runs that open the last volumes side by side, one extends the PCR.
 */
export class LatchMarks {
  readonly #directory: RunDirectory;

  constructor(directory: string = RUN_DIRECTORY) {
    this.#directory = new RunDirectory(directory);
  }

  /**
   * These are still closed; of an earlier run none counts.
   * @throws LatchkeyError system/run-directory
   */
  leave(volumes: readonly string[]): void {
    const folder = this.#folder;
    try {
      this.#directory.create();
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      for (const volume of volumes) writeFileSync(join(folder, volume), "", { mode: 0o600 });
      for (const old of readdirSync(folder)) if (!volumes.includes(old)) rmSync(join(folder, old), { force: true });
    } catch (cause) {
      const reason = cause instanceof Error && "code" in cause ? String(cause.code) : "unknown";
      throw new LatchkeyError("system/run-directory", `cannot use ${folder}: ${reason}`, { cause });
    }
  }

  /**
   * These are open now.
   * @returns true for the run that has opened the last of them
   */
  take(volumes: readonly string[]): boolean {
    try {
      for (const volume of volumes) {
        // A device that was named by its path is no file of this folder.
        if (!volume.includes("/")) rmSync(join(this.#folder, volume), { force: true });
      }
      rmdirSync(this.#folder);
      return this.finish();
    } catch {
      return false; // others are closed yet; or nothing waits, as on most systems
    }
  }

  /**
   * All are open.
   * @returns true for the first run of this boot that says so; also where that cannot be written down
   */
  finish(): boolean {
    try {
      rmSync(this.#folder, { recursive: true, force: true });
      this.#directory.create();
      writeFileSync(this.#directory.file(DONE), "", { flag: "wx", mode: 0o600 });
      return true;
    } catch (thrown) {
      return !(thrown instanceof Error && "code" in thrown && thrown.code === "EEXIST");
    }
  }

  /** The PCR was not extended after all: the next run that finds everything open tries again. */
  undone(): void {
    try {
      this.#directory.remove(DONE);
    } catch {
      // Where nothing can be taken away nothing was written either.
    }
  }

  get #folder(): string {
    return this.#directory.file(WAITING);
  }
}
