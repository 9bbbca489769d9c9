/** The identities on a bcachefs disk: magics and UUIDs, all in plain byte order (first textual byte first). */

import { LatchkeyError } from "../../system/errors.ts";
import { uuidText } from "../../system/on-disk.ts";

/** BCHFS_MAGIC of fs/bcachefs_format.h. */
const CURRENT_MAGIC = "c68573f6-66ce-90a9-d96a-60cf803df7ef";
/** BCACHE_MAGIC: shared with bcache, so whoever accepts it goes on checking everything else. */
const OLD_MAGIC = "c68573f6-4e1a-45ca-8265-f57f48ba6d81";

export const NO_UUID = "00000000-0000-0000-0000-000000000000";

/** Superblocks and layouts carry the same two magics. */
export function isMagic(bytes: Uint8Array): boolean {
  const text = uuidText(bytes);
  return text === CURRENT_MAGIC || text === OLD_MAGIC;
}

/** What the parsers of this folder throw: the reason alone, without the device, which they do not know. */
export function damaged(reason: string): LatchkeyError {
  return new LatchkeyError("bcachefs/superblock-damaged", reason);
}

/** As `damaged`, but there is no sign of bcachefs at all. */
export function absent(reason: string): LatchkeyError {
  return new LatchkeyError("bcachefs/not-bcachefs", reason);
}
