import { scryptSync } from "node:crypto";

/** Base-2 logarithms, as the superblock stores them. */
export interface ScryptParameters {
  readonly log2N: number;
  readonly log2R: number;
  readonly log2P: number;
}

export const DERIVED_KEY_BYTES = 32;

/** "bcache" with its NUL: c_src/crypto.c passes sizeof of the literal. The same on every file system. */
const SALT = new TextEncoder().encode("bcache\0");

/**
 * scrypt (RFC 7914) with BoringSSL's code, straight from and into memory of the caller; blocks its thread.
 *
 * BoringSSL leaves the padded HMAC key (the passphrase XOR 0x5c) and at times the derived key on the stack. So a second,
 * tiny derivation with a passphrase of the same length follows in the same frames, and leaves its own there.
 * test/unit/providers/bcachefs/left-behind.test.ts looks for what remains.
 * @param key 32 bytes of room
 */
export function scryptInto(passphrase: Uint8Array, parameters: ScryptParameters, key: Uint8Array): void {
  scryptOnce(passphrase, parameters, key);
  const nothing = new Uint8Array(DERIVED_KEY_BYTES);
  scryptOnce(new Uint8Array(passphrase.length).fill(0x20), { log2N: 1, log2R: 0, log2P: 0 }, nothing);
}

function scryptOnce(passphrase: Uint8Array, { log2N, log2R, log2P }: ScryptParameters, key: Uint8Array): void {
  const [N, r, p] = [2 ** log2N, 2 ** log2R, 2 ** log2P];
  const derived = scryptSync(passphrase, SALT, DERIVED_KEY_BYTES, { N, r, p, maxmem: 128 * r * (N + p + 2) });
  key.set(derived);
  derived.fill(0);
}
