import { isUtf8 } from "node:buffer";
import type { SecretBytes } from "../../system/secret-bytes.ts";

const NUL = 0x00;
const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/** What about a passphrase often makes it wrong, one line or nothing. Says nothing of the rest of it. */
export function oddityOf(passphrase: SecretBytes): string | undefined {
  const { bytes } = passphrase;
  const last = bytes.at(-1);
  if (last === CARRIAGE_RETURN) return "it ends with a carriage return, which counts: was the file made on Windows?";
  if (last === LINE_FEED) return "it ends with a line feed, which counts";
  if (bytes.includes(NUL)) return "it holds a NUL byte: bcachefs' own tools cannot have set it";
  if (!isUtf8(bytes)) return "it is not UTF-8: bcachefs' own tools take it from a terminal only";
  return undefined;
}
