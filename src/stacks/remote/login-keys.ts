import { LatchkeyError } from "../../system/errors.ts";
import type { Files } from "../files.ts";
import { rewriteAuthorizedKeys, type Server } from "./authorized-keys.ts";
import { fingerprint } from "./host-key.ts";
import { ADOPTED_FOLDERS, OWN_AUTHORIZED_KEYS, ROOT_AUTHORIZED_KEYS } from "./places.ts";
import type { ServerChoice } from "./server-choice.ts";

/** Who may log in to the initrd. */
export interface LoginKeys {
  /** Where that is written, for people. */
  readonly file: string;
  /** Lines for the image's authorized_keys; at least one. */
  readonly lines: readonly string[];
  /** What was left out and why. */
  readonly warnings: readonly string[];
}

/**
 * The keys that may log in: latchkey's own file, or else those that dropbear-initramfs has, or else root's.
 * @param adopted the keys of dropbear-initramfs, as they are in the image or on the system
 * @throws LatchkeyError remote/no-authorized-keys: better no image than one that nobody can log in to
 */
export function readLoginKeys(files: Files, server: Server, adopted: string | undefined): LoginKeys {
  const own = files.readText(OWN_AUTHORIZED_KEYS);
  const [file, text] =
    own !== undefined
      ? [OWN_AUTHORIZED_KEYS, own]
      : adopted !== undefined
        ? ["the authorized_keys of dropbear-initramfs", adopted]
        : [ROOT_AUTHORIZED_KEYS, files.readText(ROOT_AUTHORIZED_KEYS)];
  const hint = `put a public key into ${OWN_AUTHORIZED_KEYS}`;
  if (text === undefined) {
    const where = `there is neither ${OWN_AUTHORIZED_KEYS} nor ${ROOT_AUTHORIZED_KEYS}`;
    throw new LatchkeyError("remote/no-authorized-keys", `nobody could log in to the initrd: ${where}`, { hint });
  }
  // In the files for the initrd alone a command of its own is what the owner wanted there until now.
  const { lines, warnings } = rewriteAuthorizedKeys(text, server, file !== ROOT_AUTHORIZED_KEYS);
  const told = warnings.map((warning) => `${file}, ${warning}`);
  if (lines.length > 0) return { file, lines, warnings: told };
  const why = told.length > 0 ? ` (${told.join("; ")})` : "";
  const what = `nobody could log in to the initrd: ${file} has no key to use${why}`;
  throw new LatchkeyError("remote/no-authorized-keys", what, { hint });
}

/** The same before there is an image. @throws LatchkeyError remote/no-authorized-keys */
export function readSystemLoginKeys(files: Files, { server, isAdopted }: ServerChoice): LoginKeys {
  const adopted = ADOPTED_FOLDERS.map((folder) => files.readText(`${folder}/authorized_keys`));
  return readLoginKeys(files, server, isAdopted ? adopted.find((text) => text !== undefined) : undefined);
}

/** `SHA256:… me@laptop`, of a line for the image: what its owner compares with `ssh-keygen -l`. */
export function describeLoginKey(line: string): string {
  const [, , , data = "", comment = ""] =
    /^(?:(\S+|\S*".*"\S*) )(\S+) ([A-Za-z0-9+/=]{16,})(?: (.*))?$/.exec(line) ?? [];
  return `${fingerprint(Buffer.from(data, "base64"))} ${comment}`.trimEnd();
}
