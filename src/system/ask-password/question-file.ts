import { oneLine } from "../errors.ts";
import type { Question } from "./asker.ts";

/** Puts a question into words that systemd's password agents read: https://systemd.io/PASSWORD_AGENTS/ */
export function questionFile(question: Question, processId: number, socketPath: string): string {
  return [
    "[Ask]",
    `PID=${processId}`,
    `Socket=${socketPath}`,
    // Never an earlier answer from the kernel keyring: it may be some other disk's, and nobody would have been asked.
    "AcceptCached=0",
    "Echo=0",
    // Without an end: the question goes when it is answered, when another source wins, or with this process.
    "NotAfter=0",
    `Message=${settingValue(`${question.text}:`)}`,
    "Icon=drive-harddisk",
    // Not `cryptsetup:…`: Clevis' agent and others answer those with a key they take from the named LUKS header.
    `Id=${settingValue(question.id)}`,
    "",
  ].join("\n");
}

/** One line that does not end in a backslash, which in systemd's files would join the next line to it, systemd.syntax(7). */
function settingValue(text: string): string {
  return oneLine(text).replace(/\\+$/, "");
}

/** What an agent's datagram says: a password after `+`, or `-` when the person declined. Anything else is to be ignored. */
export type Reply =
  | { readonly kind: "password"; readonly start: number; readonly end: number }
  | { readonly kind: "declined" }
  | { readonly kind: "invalid" };

const PLUS = 0x2b;
const MINUS = 0x2d;

/**
 * Where in the datagram the password lies. The protocol separates several passwords by NUL and lets one end with it; only
 * the first counts, since several come from a cache alone, and we ask for none.
 */
export function judgeReply(bytes: Uint8Array): Reply {
  if (bytes[0] === MINUS) return { kind: "declined" };
  if (bytes[0] !== PLUS) return { kind: "invalid" };
  const end = bytes.indexOf(0, 1);
  return { kind: "password", start: 1, end: end < 0 ? bytes.length : end };
}
