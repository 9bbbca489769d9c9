import { closeSync, fchmodSync } from "node:fs";
import { LatchkeyError } from "./errors.ts";
import { errnoName, lastErrno, libc } from "./libc.ts";

export const AF_UNIX = 1;

/** sun_path of struct sockaddr_un, with room for its closing NUL. */
const LONGEST_PATH = 107;

/**
 * struct sockaddr_un, unix(7): the family, then the path with its NUL.
 * @throws LatchkeyError `system/socket` when the path is too long for a socket
 */
export function socketAddress(path: string): Uint8Array {
  const name = new TextEncoder().encode(path);
  if (name.length > LONGEST_PATH) {
    throw new LatchkeyError("system/socket", `the path ${path} is longer than a socket's may be`);
  }
  const address = new Uint8Array(2 + name.length + 1);
  new DataView(address.buffer).setUint16(0, AF_UNIX, true);
  address.set(name, 2);
  return address;
}

/**
 * A socket with a path, for its owner alone. bind(2) gives the path the socket's own mode less the umask, so it is closed to others
 * from its first moment, without changing the umask of the whole process.
 * @param type as for socket(2), with its flags
 * @param prepare what is to be set before others can reach it; it may throw
 * @returns the descriptor
 * @throws LatchkeyError `system/socket`, also when something is at that path already
 */
export function boundSocket(path: string, type: number, prepare?: (fd: number) => void): number {
  const address = socketAddress(path);
  const fd = libc().socket(AF_UNIX, type, 0);
  if (fd < 0) throw socketFailure("create a socket for", path);
  try {
    fchmodSync(fd, 0o600);
    prepare?.(fd);
    if (libc().bind(fd, address, address.length) < 0) throw socketFailure("bind a socket at", path);
  } catch (thrown) {
    closeSync(fd);
    throw thrown instanceof LatchkeyError ? thrown : socketFailure("prepare a socket for", path, thrown);
  }
  return fd;
}

/** Without a cause it reads errno, so it is called right after the call that failed. */
export function socketFailure(what: string, path: string, cause?: unknown): LatchkeyError {
  const reason = cause === undefined ? errnoName(lastErrno()) : "the system refused";
  return new LatchkeyError("system/socket", `cannot ${what} ${path} (${reason})`, cause === undefined ? {} : { cause });
}
