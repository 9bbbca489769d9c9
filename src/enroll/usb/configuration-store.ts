import { copyFileSync, lstatSync, readFileSync } from "node:fs";
import { LatchkeyError } from "../../system/errors.ts";
import { fileReason, writeWholeFile } from "../../system/whole-file.ts";

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
    throw new LatchkeyError("config/unreadable", `${file}: ${fileReason(cause)}`, { cause });
  }
}

/**
 * Puts the new text in the place of the old, whole or not at all, and keeps the old one beside it.
 * @returns where the old one is, if there was one
 * @throws LatchkeyError enroll/cannot-write
 */
export function writeConfiguration(file: string, text: string): string | undefined {
  try {
    const before = lstatSync(file, { throwIfNoEntry: false });
    const old = before ? `${file}.old` : undefined;
    if (old !== undefined) copyFileSync(file, old);
    writeWholeFile(file, new TextEncoder().encode(text), before ? before.mode & 0o777 : NEW_FILE_MODE);
    return old;
  } catch (cause) {
    throw new LatchkeyError("enroll/cannot-write", `cannot write ${file}: ${fileReason(cause)}`, { cause });
  }
}
