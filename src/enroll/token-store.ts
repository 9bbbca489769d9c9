import { accessSync, constants, lstatSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { LatchkeyError } from "../system/errors.ts";
import { fileReason, writeWholeFile } from "../system/whole-file.ts";

/** For root alone: the token is no secret by itself, but with this machine's TPM it is as good as one. */
const TOKEN_MODE = 0o600;

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
    const hadOne = kindOf(path) === "file";
    if (hadOne) writeWholeFile(oldName(path), readFileSync(path), TOKEN_MODE);
    writeWholeFile(path, new TextEncoder().encode(token), TOKEN_MODE);
    if (readFileSync(path, "latin1") !== token) throw cannotWrite(path, "it does not hold what was written to it");
    return hadOne ? oldName(path) : undefined;
  });
}

function explained<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (thrown) {
    throw thrown instanceof LatchkeyError ? thrown : cannotWrite(path, fileReason(thrown), thrown);
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

function cannotWrite(path: string, reason: string, cause?: unknown): LatchkeyError {
  return new LatchkeyError("enroll/cannot-write", `cannot write the token ${path}: ${reason}`, {
    ...(reason === "permission denied" ? { hint: "use sudo" } : {}),
    cause,
  });
}
