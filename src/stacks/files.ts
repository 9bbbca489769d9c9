import {
  closeSync,
  constants,
  copyFileSync,
  fchmodSync,
  fsyncSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmdirSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { LatchkeyError } from "../system/errors.ts";

export interface FileFacts {
  readonly kind: "file" | "folder" | "link" | "other";
  /** Permission bits. */
  readonly mode: number;
  readonly size: number;
}

/**
 * The files of a machine, as the stacks use them: what is written appears whole or not at all, and what cannot be written
 * is our error with the system's reason.
 */
export class Files {
  readonly #root: string;

  /** @param root where "/" is: another folder in tests */
  constructor(root = "/") {
    this.#root = root;
  }

  /** The bytes of a file, undefined when there is none. */
  readBytes(path: string): Uint8Array | undefined {
    return absent(() => new Uint8Array(readFileSync(this.#at(path))));
  }

  readText(path: string): string | undefined {
    return absent(() => readFileSync(this.#at(path), "utf8"));
  }

  /** Sorted names in a folder; none when there is no such folder. */
  list(path: string): readonly string[] {
    return absent(() => readdirSync(this.#at(path)).sort()) ?? [];
  }

  /** About the file itself, not what a link points to. */
  facts(path: string): FileFacts | undefined {
    const found = absent(() => lstatSync(this.#at(path)));
    if (!found) return undefined;
    const kind = found.isFile() ? "file" : found.isDirectory() ? "folder" : found.isSymbolicLink() ? "link" : "other";
    return { kind, mode: found.mode & 0o7777, size: found.size };
  }

  /** When the content of a file last changed, in milliseconds since 1970; undefined when there is none. */
  modified(path: string): number | undefined {
    return absent(() => statSync(this.#at(path)).mtimeMs);
  }

  /** All files below a folder, sorted. */
  walk(folder: string): readonly string[] {
    return this.list(folder).flatMap((name) => {
      const path = join(folder, name);
      return this.facts(path)?.kind === "folder" ? this.walk(path) : [path];
    });
  }

  /** The same as `find -L FOLDER -type f` gives: files and folders behind links, too, and neither links to nothing nor circles. */
  walkThroughLinks(folder: string, above: readonly string[] = []): readonly string[] {
    const real = this.realPath(folder);
    if (real === undefined || above.includes(real)) return [];
    return this.list(folder).flatMap((name) => {
      const path = join(folder, name);
      const found = absent(() => statSync(this.#at(path)));
      if (found?.isDirectory()) return this.walkThroughLinks(path, [...above, real]);
      return found?.isFile() ? [path] : [];
    });
  }

  realPath(path: string): string | undefined {
    return absent(() => realpathSync(this.#at(path)));
  }

  freeBytes(folder: string): number {
    return writing(folder, () => {
      const { bavail, bsize } = statfsSync(this.#at(folder));
      return bavail * bsize;
    });
  }

  write(path: string, text: string, mode: number): void {
    writing(path, () => {
      const target = this.#at(path);
      mkdirSync(dirname(target), { recursive: true });
      whole(target, mode, (draft) => writeFileSync(draft, text, { mode }));
    });
  }

  copy(from: string, to: string, mode: number): void {
    writing(to, () => {
      const source = this.#at(from);
      whole(this.#at(to), mode, (draft) => copyFileSync(source, draft, constants.COPYFILE_FICLONE));
    });
  }

  /** A second name for a file; false where the filesystem has no such thing (vfat). */
  secondName(path: string, name: string): boolean {
    try {
      linkSync(this.#at(path), this.#at(name));
      return true;
    } catch {
      return false;
    }
  }

  remove(path: string): void {
    writing(path, () => rmSync(this.#at(path), { force: true }));
  }

  /** Removes a folder that is empty; false when it is not. */
  removeEmptyFolder(path: string): boolean {
    try {
      rmdirSync(this.#at(path));
      return true;
    } catch {
      return false;
    }
  }

  /** A folder for root alone, to be given back to removeTree(). On a disk: images are large, and /tmp is often memory. */
  makeWorkFolder(): string {
    return writing("/var/tmp", () => {
      const made = mkdtempSync(this.#at("/var/tmp/latchkey-"));
      return this.#root === "/" ? made : made.slice(this.#root.length);
    });
  }

  makeFolder(path: string): void {
    writing(path, () => mkdirSync(this.#at(path), { recursive: true }));
  }

  removeTree(path: string): void {
    rmSync(this.#at(path), { recursive: true, force: true });
  }

  /** The path as programs need it. */
  outside(path: string): string {
    return this.#at(path);
  }

  #at(path: string): string {
    return join(this.#root, path);
  }
}

/** Written beside its place under another name, forced to the disk, then renamed: a power cut leaves the old or the new. */
function whole(target: string, mode: number, fill: (draft: string) => void): void {
  const draft = `${target}.latchkey-new`;
  try {
    fill(draft);
    syncing(draft, (file) => fchmodSync(file, mode));
    renameSync(draft, target);
    syncing(dirname(target));
  } catch (thrown) {
    rmSync(draft, { force: true });
    throw thrown;
  }
}

function syncing(path: string, before: (file: number) => void = () => undefined): void {
  const file = openSync(path, "r");
  try {
    before(file);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

function absent<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (thrown) {
    if (["ENOENT", "ENOTDIR", "EISDIR", "ELOOP"].includes(errorCode(thrown))) return undefined;
    throw thrown;
  }
}

function writing<T>(path: string, write: () => T): T {
  try {
    return write();
  } catch (thrown) {
    const code = errorCode(thrown);
    const reasons: Readonly<Record<string, readonly [string, string]>> = {
      EROFS: [
        "the filesystem is read-only",
        "on a system with a read-only /usr, latchkey has to come with the system image",
      ],
      ENOSPC: ["the disk is full", "make room and run this again: nothing that was there before has changed"],
      EACCES: ["permission denied", "run it as root"],
    };
    const [reason, hint] = reasons[code] ?? [thrown instanceof Error ? thrown.message : code, undefined];
    throw new LatchkeyError("install/cannot-write", `cannot write ${path}: ${reason}`, {
      cause: thrown,
      ...(hint === undefined ? {} : { hint }),
    });
  }
}

function errorCode(thrown: unknown): string {
  return thrown instanceof Error && "code" in thrown && typeof thrown.code === "string" ? thrown.code : "";
}
