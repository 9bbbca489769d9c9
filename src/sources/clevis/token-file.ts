import { closeSync, fstatSync, openSync, readFileSync } from "node:fs";
import { MAX_TOKEN_CHARACTERS } from "../../jose/jwe.ts";
import { LatchkeyError } from "../../system/errors.ts";

/** A token before it is parsed. */
export interface FoundToken {
  /** Where it was found, for messages. */
  readonly origin: string;
  readonly text: string;
}

export function readTokenFile(path: string): FoundToken {
  let descriptor: number;
  try {
    descriptor = openSync(path, "r");
  } catch (cause) {
    throw unreadable(path, (cause as NodeJS.ErrnoException).code ?? "", cause);
  }
  try {
    const status = fstatSync(descriptor);
    if (!status.isFile()) throw unreadable(path, "it is not a file"); // a pipe could keep us waiting
    if (status.size > MAX_TOKEN_CHARACTERS) {
      throw new LatchkeyError("token/too-large", `${path}: a token has at most ${MAX_TOKEN_CHARACTERS} characters`);
    }
    // One character for each octet: what is not ASCII is not a token, and the parser says so.
    return { origin: path, text: readFileSync(descriptor, "latin1") };
  } finally {
    closeSync(descriptor);
  }
}

function unreadable(path: string, reason: string, cause?: unknown): LatchkeyError {
  if (reason === "ENOENT") {
    return new LatchkeyError("token/unreadable", `there is no token ${path}`, {
      hint: "is the path right, and is the file in the initrd? `latchkey install` puts configured tokens there",
      cause,
    });
  }
  return new LatchkeyError("token/unreadable", `the token ${path} cannot be read (${reason})`, { cause });
}
