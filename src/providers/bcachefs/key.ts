import { timingSafeEqual } from "node:crypto";
import { LatchkeyError } from "../../system/errors.ts";
import type { SecretBytes } from "../../system/secret-bytes.ts";
import { chacha20FirstBlock } from "./chacha20.ts";
import { type CryptField, KEY_MAGIC } from "./fields.ts";
import type { ScryptParameters } from "./scrypt.ts";

const SCRYPT = 0;

/**
 * What a disk may ask of us before a passphrase is derived. Upstream shifts by the unchecked 16-bit numbers and lets
 * libsodium refuse. The only parameters seen in the world are 14/3/4: 16 MiB, 0.4 s.
 */
const LIMIT = {
  log2N: 20,
  /** 128·N·r bytes of memory, 1 GiB. */
  log2Memory: 30,
  log2P: 8,
  /** N·r·p: 64 times the default work, half a minute. Without it 1 GiB in 256 lanes would take ten. */
  log2Work: 27,
} as const;

/**
 * Judges a crypt field that needs a passphrase.
 * @param path the device, for messages
 * @throws LatchkeyError bcachefs/unsupported for another KDF, bcachefs/kdf-out-of-bounds
 */
export function checkedParameters(crypt: CryptField, path: string): ScryptParameters {
  if (crypt.kdfType !== SCRYPT) {
    throw new LatchkeyError(
      "bcachefs/unsupported",
      `${path} asks for key derivation type ${crypt.kdfType}, only scrypt (0) is known`,
      { hint: "a newer latchkey may know it; `bcachefs unlock` does without latchkey" },
    );
  }
  const { log2N, log2R, log2P } = crypt;
  const asked = `${path} asks for scrypt with N=2^${log2N} r=2^${log2R} p=2^${log2P}`;
  const hint = "bcachefs itself writes N=2^14 r=2^3 p=2^4: the superblock was damaged or made to waste time";
  if (log2N < 1) {
    throw new LatchkeyError("bcachefs/kdf-out-of-bounds", `${asked}, which is no valid key derivation`, { hint });
  }
  if (
    log2N > LIMIT.log2N ||
    log2P > LIMIT.log2P ||
    log2N + log2R + 7 > LIMIT.log2Memory ||
    log2N + log2R + log2P > LIMIT.log2Work
  ) {
    throw new LatchkeyError("bcachefs/kdf-out-of-bounds", `${asked}, which costs more than any real file system does`, {
      hint,
    });
  }
  return { log2N, log2R, log2P };
}

/** Names algorithm and cost, for Credential.derived: the salt is the same on every bcachefs. */
export function parametersText({ log2N, log2R, log2P }: ScryptParameters): string {
  return `scrypt:${log2N}:${log2R}:${log2P}`;
}

/**
 * The whole passphrase check of bcachefs: does this key turn the first 8 of the 40 wrapped bytes into the known magic?
 * The master key behind them has no check of its own, so a damaged one shows at the mount only.
 * @param key the 32 bytes derived from the passphrase
 * @param nonce the first 8 bytes of the internal UUID
 */
export function opensWrappedKey(key: SecretBytes, crypt: CryptField, nonce: Uint8Array): boolean {
  using stream = chacha20FirstBlock(key, nonce);
  const magic = stream.bytes.subarray(0, KEY_MAGIC.length);
  for (const [index, byte] of crypt.wrappedMagic.entries()) magic[index] = (magic[index] ?? 0) ^ byte;
  return timingSafeEqual(magic, KEY_MAGIC);
}
