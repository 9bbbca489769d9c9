import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { isatty } from "node:tty";
import { LatchkeyError } from "./errors.ts";
import { SecretBytes } from "./secret-bytes.ts";

/** Room for a passphrase or key given by a file or pipe. As cryptsetup's --keyfile-size limit, far above any real key. */
export const MAX_INPUT_BYTES = 64 * 1024;

/** Milliseconds until a pipe is looked at again whose writer has not written yet. */
const PIPE_PAUSE = 20;

const LINE_FEED = 0x0a;
const STDIN = 0;

/**
 * Reads a secret from a file, or from standard input when the name is `-`, straight into secret bytes.
 * @throws LatchkeyError secret/unreadable, secret/too-long; usage/invalid when standard input is a terminal
 */
export function readSecret(file: string): SecretBytes {
  if (file !== "-") return readFile(file);
  if (isatty(STDIN)) {
    throw new LatchkeyError("usage/invalid", "standard input is a terminal, and what is typed there would be seen", {
      hint: "leave the option out to be asked for the passphrase",
    });
  }
  return readDescriptor(STDIN, "standard input");
}

/**
 * A passphrase from the content of a file, by the rule of bcachefs-tools since 1.39 (src/key.rs): all trailing line
 * feeds go, everything else counts: spaces, carriage returns, line feeds inside. (1.13 took one line feed off, and read
 * up to the first NUL only.) bcachefs-tools refuses a NUL or invalid UTF-8; we do not, since a file system may have got
 * such a passphrase elsewhere.
 * @param content shortened in place, so that the scope stays with its owner
 */
export function withoutTrailingNewlines(content: SecretBytes): SecretBytes {
  const { bytes } = content;
  let length = bytes.length;
  while (length > 0 && bytes[length - 1] === LINE_FEED) length -= 1;
  return content.truncate(length);
}

function readFile(file: string): SecretBytes {
  let descriptor: number;
  try {
    // O_NONBLOCK: a pipe that nobody writes to must not hold us up.
    descriptor = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch (cause) {
    throw unreadable(file, cause);
  }
  try {
    if (fstatSync(descriptor).isDirectory()) {
      throw new LatchkeyError("secret/unreadable", `${file} is a directory, not a passphrase or key file`);
    }
    return readDescriptor(descriptor, file);
  } finally {
    closeSync(descriptor);
  }
}

function readDescriptor(descriptor: number, name: string): SecretBytes {
  const secret = SecretBytes.allocate(MAX_INPUT_BYTES + 1);
  try {
    let length = 0;
    while (length < secret.length) {
      const count = readSome(descriptor, secret.bytes, length);
      if (count === 0) break;
      length += count;
    }
    if (length > MAX_INPUT_BYTES) {
      throw new LatchkeyError("secret/too-long", `${name} holds more than ${MAX_INPUT_BYTES} bytes`, {
        hint: "is it really a passphrase or a key?",
      });
    }
    return secret.truncate(length);
  } catch (thrown) {
    secret[Symbol.dispose]();
    throw thrown instanceof LatchkeyError ? thrown : unreadable(name, thrown);
  }
}

/** EAGAIN: somebody has the pipe open to write into it and has not done so yet, as with `<(command)` of a shell. */
function readSome(descriptor: number, room: Uint8Array, offset: number): number {
  for (;;) {
    try {
      return readSync(descriptor, room, offset, room.length - offset, null);
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code !== "EAGAIN") throw thrown;
      Bun.sleepSync(PIPE_PAUSE);
    }
  }
}

function unreadable(name: string, cause: unknown): LatchkeyError {
  const code = (cause as NodeJS.ErrnoException).code;
  const reason =
    code === "ENOENT" ? "no such file" : code === "EACCES" ? "permission denied" : (code ?? "it cannot be read");
  return new LatchkeyError("secret/unreadable", `${name}: ${reason}`, { cause });
}
