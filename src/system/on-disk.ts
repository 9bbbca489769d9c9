/** What superblocks of all kinds have: UUIDs and labels. */

export const UUID_BYTES = 16;

/** @returns lower case with hyphens, as blkid, /sys/fs/bcachefs and the key description spell it */
export function uuidText(bytes: Uint8Array): string {
  const hex = bytes.subarray(0, UUID_BYTES).toHex();
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20, 32)].join("-");
}

/**
 * Text from the disk for people to read: up to the first NUL, without what could break a line, move the cursor or turn
 * the direction of writing.
 */
export function printable(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  const text = new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
  return text.replace(/[\p{Cc}\p{Cf}\p{Co}\p{Cs}\u2028\u2029]/gu, "\ufffd");
}
