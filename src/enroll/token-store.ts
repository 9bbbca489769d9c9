import {
  accessSync,
  closeSync,
  constants,
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
import { LatchkeyError } from "../system/errors.ts";

/** For root alone: the token is no secret by itself, but with this machine's TPM it is as good as one. */
const TOKEN_MODE = 0o600;
const FOLDER_MODE = 0o755;

/** Where the token that lay there before is kept. */
export function oldName(path: string): string {
  return `${path}.old`;
}

/**
 * Looked at before a person is asked for anything.
 * @returns whether a token lies there already
 * @throws LatchkeyError enroll/cannot-write
 */
export function inspectPlace(path: string): boolean {
  return explained(path, () => {
    const existing = kindOf(path);
    if (existing === "other") throw cannotWrite(path, "what lies there is not a file");
    if (existing === "file" && kindOf(oldName(path)) === "other") {
      throw cannotWrite(oldName(path), "what lies there is not a file");
    }
    accessSync(nearestFolder(dirname(path)), constants.W_OK | constants.X_OK);
    return existing === "file";
  });
}

/**
 * Puts the token in its place whole or not at all. What lay there before is kept beside it.
 * @returns where that is, if there was something
 * @throws LatchkeyError enroll/cannot-write
 */
export function storeToken(path: string, token: string): string | undefined {
  return explained(path, () => {
    mkdirSync(dirname(path), { recursive: true, mode: FOLDER_MODE });
    const hadOne = kindOf(path) === "file";
    if (hadOne) writeWhole(oldName(path), readFileSync(path));
    writeWhole(path, new TextEncoder().encode(token));
    if (readFileSync(path, "latin1") !== token) throw cannotWrite(path, "it does not hold what was written to it");
    return hadOne ? oldName(path) : undefined;
  });
}

function explained<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (thrown) {
    throw thrown instanceof LatchkeyError ? thrown : cannotWrite(path, reasonOf(thrown), thrown);
  }
}

function writeWhole(path: string, content: Uint8Array): void {
  const draft = `${path}.new`;
  rmSync(draft, { force: true });
  const file = openSync(
    draft,
    constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
    TOKEN_MODE,
  );
  try {
    fchmodSync(file, TOKEN_MODE);
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

/** A link is not followed: on NixOS the files in /etc are links into the store, and belong to the configuration. */
function kindOf(path: string): "file" | "other" | undefined {
  const found = lstatSync(path, { throwIfNoEntry: false });
  return found && (found.isFile() ? "file" : "other");
}

/** The folder, or the one in which it would have to be made. */
function nearestFolder(folder: string): string {
  const parent = dirname(folder);
  return parent === folder || lstatSync(folder, { throwIfNoEntry: false }) ? folder : nearestFolder(parent);
}

function reasonOf(cause: unknown): string {
  const code = (cause as NodeJS.ErrnoException).code;
  if (code === "EACCES" || code === "EPERM") return "permission denied";
  if (code === "EROFS") return "the file system is read-only";
  return code ?? "unknown error";
}

function cannotWrite(path: string, reason: string, cause?: unknown): LatchkeyError {
  return new LatchkeyError("enroll/cannot-write", `cannot write the token ${path}: ${reason}`, {
    ...(reason === "permission denied" ? { hint: "use sudo" } : {}),
    cause,
  });
}
