import { randomFillSync } from "node:crypto";
import { SecretBytes } from "../system/secret-bytes.ts";

/**
 * systemd's recovery keys (src/shared/recovery-key.c): 256 bits in modhex, letters that lie in the same place on nearly every
 * keyboard layout, in groups with hyphens between. The hyphens belong to the passphrase.
 */
const MODHEX = new TextEncoder().encode("cbdefghijklnrtuv");
const KEY_BYTES = 32;
const GROUPS = 8;
const GROUP_LETTERS = 8;
export const RECOVERY_KEY_LENGTH = GROUPS * GROUP_LETTERS + GROUPS - 1;

const HYPHEN = 0x2d;
const SPACE = 0x20;
const TAB = 0x09;

export function newRecoveryKey(): SecretBytes {
  using raw = SecretBytes.allocate(KEY_BYTES);
  randomFillSync(raw.bytes);
  return recoveryKeyOf(raw);
}

/** @param raw 32 bytes; stay the caller's */
export function recoveryKeyOf(raw: SecretBytes): SecretBytes {
  const key = SecretBytes.allocate(RECOVERY_KEY_LENGTH);
  const text = key.bytes;
  for (let letter = 0; letter < GROUPS * GROUP_LETTERS; letter += 1) {
    const byte = raw.bytes[letter >> 1] ?? 0;
    const nibble = letter % 2 === 0 ? byte >> 4 : byte & 0xf;
    text[letter + Math.floor(letter / GROUP_LETTERS)] = MODHEX[nibble] ?? 0;
  }
  for (let group = 1; group < GROUPS; group += 1) text[group * (GROUP_LETTERS + 1) - 1] = HYPHEN;
  return key;
}

/** What somebody typed, against the key that was shown. */
export type TypedBack =
  /** As the key is written, however it was typed. */
  { readonly is: "right"; readonly key: SecretBytes } | { readonly is: "wrong"; readonly why: string };

/**
 * Capitals, spaces, and hyphens left out or put elsewhere are forgiven, as systemd forgives them. Says which groups differ:
 * whoever reads that sits at the terminal that has just shown the key.
 */
export function compareTyped(key: SecretBytes, typed: SecretBytes): TypedBack {
  const letters = SecretBytes.allocate(typed.length);
  let count = 0;
  for (const byte of typed.bytes) {
    if (byte === HYPHEN || byte === SPACE || byte === TAB) continue;
    letters.bytes[count] = byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte;
    count += 1;
  }
  using given = letters.truncate(count);
  const wanted = GROUPS * GROUP_LETTERS;
  if (count !== wanted) return { is: "wrong", why: `it has ${wanted} letters, and ${count} were typed` };
  const written = SecretBytes.allocate(RECOVERY_KEY_LENGTH);
  const different: number[] = [];
  for (let group = 0; group < GROUPS; group += 1) {
    const start = group * (GROUP_LETTERS + 1);
    const part = given.bytes.subarray(group * GROUP_LETTERS, (group + 1) * GROUP_LETTERS);
    written.bytes.set(part, start);
    if (group > 0) written.bytes[start - 1] = HYPHEN;
    if (!part.every((byte, index) => byte === key.bytes[start + index])) different.push(group + 1);
  }
  if (written.equals(key)) return { is: "right", key: written };
  written[Symbol.dispose]();
  const groups = different.length === 1 ? `group ${different[0]} differs` : `groups ${different.join(", ")} differ`;
  return { is: "wrong", why: groups };
}
