import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { LatchkeyError } from "../../../system/errors.ts";
import { RUN_DIRECTORY, RunDirectory } from "../../../system/run-directory.ts";
import type { SecretBytes } from "../../../system/secret-bytes.ts";
import { KEY_FOLDER, makeKeyFolderInMemory } from "./key-folder.ts";

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_RDWR, O_WRONLY } = constants;

export interface StagedKeysParts {
  readonly folder?: string;
  /** Notes of what was staged, so that nothing else is ever taken away. */
  readonly notes?: string;
  readonly makeFolder?: (folder: string) => void;
}

/** Key files for systemd-cryptsetup, in memory, each until it is used or withdrawn. */
export class StagedKeys {
  readonly #folder: string;
  readonly #notes: RunDirectory;
  readonly #makeFolder: (folder: string) => void;

  constructor(parts: StagedKeysParts = {}) {
    this.#folder = parts.folder ?? KEY_FOLDER;
    this.#notes = new RunDirectory(parts.notes ?? join(RUN_DIRECTORY, "staged"));
    this.#makeFolder = parts.makeFolder ?? makeKeyFolderInMemory;
  }

  path(volume: string): string {
    return join(this.#folder, `${volume}.key`);
  }

  /**
   * Puts the key there whole or not at all, 0400, in place of one that was staged before.
   * @throws LatchkeyError stage/taken, stage/not-in-memory, stage/cannot-write, system/run-directory
   */
  stage(volume: string, key: SecretBytes): void {
    this.#makeFolder(this.#folder);
    const path = this.path(volume);
    const replaces = this.#isOurs(volume);
    if (!replaces && lstatSync(path, { throwIfNoEntry: false }) !== undefined) {
      throw new LatchkeyError("stage/taken", `${volume}: ${path} is there and is not latchkey's`, {
        hint: "somebody else has a key or a socket there: take that away first, or do without staging",
      });
    }
    const draft = `${path}.${process.pid}.new`;
    try {
      const file = openSync(draft, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, 0o600);
      try {
        for (let at = 0; at < key.length; ) at += writeSync(file, key.bytes, at, key.length - at);
        fchmodSync(file, 0o400);
        this.#notes.create();
        this.#notes.write(volume, identityOf(fstatSync(file)));
      } finally {
        closeSync(file);
      }
      if (replaces) wipe(path);
      renameSync(draft, path);
    } catch (thrown) {
      wipe(draft);
      if (replaces) wipe(path);
      this.#notes.remove(volume);
      if (thrown instanceof LatchkeyError) throw thrown;
      const reason = thrown instanceof Error && "code" in thrown ? String(thrown.code) : "unknown";
      throw new LatchkeyError("stage/cannot-write", `${volume}: cannot write ${path} (${reason})`, { cause: thrown });
    }
  }

  /** @returns whether there was one */
  withdraw(volume: string): boolean {
    const isOurs = this.#isOurs(volume);
    if (isOurs) wipe(this.path(volume));
    this.#notes.remove(volume);
    return isOurs;
  }

  /** Volumes that have a key staged. */
  get volumes(): readonly string[] {
    try {
      return readdirSync(this.#notes.path).filter((volume) => this.#isOurs(volume));
    } catch {
      return [];
    }
  }

  /** A file that is the very one that was staged: a file of somebody else may have come in its place. */
  #isOurs(volume: string): boolean {
    const found = lstatSync(this.path(volume), { throwIfNoEntry: false });
    if (!found?.isFile()) return false;
    try {
      return readFileSync(this.#notes.file(volume), "utf8") === identityOf(found);
    } catch {
      return false;
    }
  }
}

function identityOf({ dev, ino }: { readonly dev: number; readonly ino: number }): string {
  return `${dev} ${ino}\n`;
}

/** Overwrites a file and takes it away: memory that is given back keeps its content. That there is none is fine. */
function wipe(path: string): void {
  try {
    const file = openSync(path, O_RDWR | O_NOFOLLOW);
    try {
      const zeros = new Uint8Array(fstatSync(file).size);
      for (let at = 0; at < zeros.length; ) at += writeSync(file, zeros, at, zeros.length - at, at);
    } finally {
      closeSync(file);
    }
  } catch {
    // Taken away all the same.
  }
  rmSync(path, { force: true });
}
