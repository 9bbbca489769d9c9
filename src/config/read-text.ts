import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { LatchkeyError } from "../system/errors.ts";

/** No file that a person wrote for a boot is larger; a larger one is some other file. */
export const maxTextBytes = 1024 * 1024;

/**
 * The text of a small file, undefined where there is none: what the loader knows of the file system, so that tests need none.
 * @throws LatchkeyError `config/unreadable` when there is a file, but not one that can be read whole
 */
export type ReadText = (path: string) => string | undefined;

/** Reads from the machine. A device or a named pipe is refused instead of waited for. */
export const readTextFile: ReadText = (path) => {
  let descriptor: number;
  try {
    // Without O_NONBLOCK opening a named pipe would wait for somebody to write to it.
    descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch (thrown) {
    const code = errnoName(thrown);
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw unreadable(path, code, thrown);
  }
  try {
    if (!fstatSync(descriptor).isFile()) throw new LatchkeyError("config/unreadable", `${path}: not a regular file`);
    return new TextDecoder().decode(readBounded(descriptor, path));
  } catch (thrown) {
    throw thrown instanceof LatchkeyError ? thrown : unreadable(path, errnoName(thrown), thrown);
  } finally {
    closeSync(descriptor);
  }
};

/** Until the end, not until the size that stat gives: files under /proc say 0. */
function readBounded(descriptor: number, path: string): Uint8Array {
  const buffer = Buffer.alloc(maxTextBytes + 1);
  let length = 0;
  for (;;) {
    const count = readSync(descriptor, buffer, length, buffer.length - length, null);
    if (count === 0) return buffer.subarray(0, length);
    length += count;
    if (length > maxTextBytes) {
      throw new LatchkeyError("config/unreadable", `${path}: larger than 1 MiB, so this is no configuration`);
    }
  }
}

function unreadable(path: string, code: string, cause: unknown): LatchkeyError {
  const reasons: Readonly<Record<string, string>> = {
    EACCES: "permission denied",
    EISDIR: "is a directory",
    ELOOP: "too many symbolic links",
    ENXIO: "not a regular file",
  };
  return new LatchkeyError("config/unreadable", `${path}: ${reasons[code] ?? `cannot be read (${code})`}`, { cause });
}

function errnoName(thrown: unknown): string {
  return thrown instanceof Error && "code" in thrown && typeof thrown.code === "string" ? thrown.code : "unknown error";
}
