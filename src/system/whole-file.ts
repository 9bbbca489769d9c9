import {
  closeSync,
  constants,
  fchmodSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import { dirname } from "node:path";

/**
 * Puts a file in its place whole or not at all, in the place of what lay there: written beside it under the name with `.new` behind,
 * brought to the disk, and renamed. Folders above that are missing are made.
 * @param mode permission bits, whatever the umask
 * @throws the error of the system call that failed; nothing is left beside the file then
 */
export function writeWholeFile(path: string, content: Uint8Array, mode: number): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  const draft = `${path}.new`;
  rmSync(draft, { force: true });
  const file = openSync(draft, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, mode);
  try {
    fchmodSync(file, mode);
    for (let at = 0; at < content.length; ) at += writeSync(file, content, at);
    fsyncSync(file);
    renameSync(draft, path);
  } catch (thrown) {
    rmSync(draft, { force: true });
    throw thrown;
  } finally {
    closeSync(file);
  }
  const folder = openSync(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    fsyncSync(folder); // the name, too, survives a power cut
  } finally {
    closeSync(folder);
  }
}

/** Why a file cannot be read or written, in words where there are some. */
export function fileReason(cause: unknown): string {
  const { code } = cause as NodeJS.ErrnoException;
  if (code === "EACCES" || code === "EPERM") return "permission denied";
  if (code === "EROFS") return "the file system is read-only";
  return code ?? "unknown error";
}
