import {
  closeSync,
  constants,
  copyFileSync,
  fchmodSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import { dirname } from "node:path";
import { LatchkeyError } from "../../system/errors.ts";

/** Nothing in it is secret. */
const NEW_FILE_MODE = 0o644;

/** latchkey.toml as it lies there. */
export interface ConfigurationText {
  /** Empty where there is no file. */
  readonly text: string;
  /** A link belongs to somebody else (NixOS has them into its store), and is not written through. */
  readonly isOurs: boolean;
}

/** @throws LatchkeyError config/unreadable */
export function readConfiguration(file: string): ConfigurationText {
  try {
    const found = lstatSync(file, { throwIfNoEntry: false });
    if (!found) return { text: "", isOurs: true };
    return { text: readFileSync(file, "utf8"), isOurs: found.isFile() };
  } catch (cause) {
    throw new LatchkeyError("config/unreadable", `${file}: ${reasonOf(cause)}`, { cause });
  }
}

/**
 * Puts the new text in the place of the old, whole or not at all, and keeps the old one beside it.
 * @returns where the old one is, if there was one
 * @throws LatchkeyError enroll/cannot-write
 */
export function writeConfiguration(file: string, text: string): string | undefined {
  const draft = `${file}.new`;
  try {
    mkdirSync(dirname(file), { recursive: true });
    const before = lstatSync(file, { throwIfNoEntry: false });
    const old = before ? `${file}.old` : undefined;
    if (old !== undefined) copyFileSync(file, old);
    rmSync(draft, { force: true });
    writeWhole(draft, text, before ? before.mode & 0o777 : NEW_FILE_MODE);
    renameSync(draft, file);
    syncFolder(dirname(file));
    return old;
  } catch (cause) {
    rmSync(draft, { force: true });
    throw new LatchkeyError("enroll/cannot-write", `cannot write ${file}: ${reasonOf(cause)}`, { cause });
  }
}

function writeWhole(path: string, text: string, mode: number): void {
  const file = openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, mode);
  try {
    fchmodSync(file, mode);
    const bytes = new TextEncoder().encode(text);
    for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

function syncFolder(path: string): void {
  const folder = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    fsyncSync(folder); // the name, too, survives a power cut
  } finally {
    closeSync(folder);
  }
}

function reasonOf(cause: unknown): string {
  const { code } = cause as NodeJS.ErrnoException;
  if (code === "EACCES" || code === "EPERM") return "permission denied";
  if (code === "EROFS") return "the file system is read-only";
  return code ?? "unknown error";
}
