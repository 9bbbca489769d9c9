import { LatchkeyError } from "../system/errors.ts";
import { SecretBytes } from "../system/secret-bytes.ts";
import type { NameHash } from "./algorithms.ts";
import { kdfE } from "./kdf.ts";
import type { PrimaryKey, PrimaryPublicKey } from "./primary.ts";
import type { EphemeralKeyPair, Randomness } from "./randomness.ts";
import { concat, sized } from "./wire.ts";

/** What this label is for: TPM 2.0 Part 1, secret sharing in annexes B (RSA) and C (ECC). */
const PURPOSE = "SECRET";

/** The salt of a session, and how it goes to the TPM. */
export interface Salt extends Disposable {
  readonly secret: SecretBytes;
  /** TPM2B_ENCRYPTED_SECRET without its length. */
  readonly encrypted: Uint8Array;
}

/**
 * Makes a salt that only the holder of the primary's private part can know.
 * @param keyPair on the primary's curve and not used yet, when one was made beforehand
 * @throws LatchkeyError tpm2/bad-answer when the primary's public key is not one
 */
export async function makeSalt(
  { hash, publicKey }: PrimaryKey,
  random: Randomness,
  keyPair?: Promise<EphemeralKeyPair>,
): Promise<Salt> {
  const [secret, encrypted] =
    publicKey.type === "ecc"
      ? await eccSalt(hash, publicKey, await (keyPair ?? random.keyPair(publicKey.curve)))
      : await rsaSalt(hash, publicKey, random);
  return { secret, encrypted, [Symbol.dispose]: () => secret[Symbol.dispose]() };
}

async function rsaSalt(
  hash: NameHash,
  { key }: Extract<PrimaryPublicKey, { type: "rsa" }>,
  random: Randomness,
): Promise<[SecretBytes, Uint8Array]> {
  const { constants, publicEncrypt } = await import("node:crypto");
  const secret = SecretBytes.allocate(hash.size);
  random.fill(secret.bytes);
  try {
    const padding = constants.RSA_PKCS1_OAEP_PADDING;
    const oaepLabel = new TextEncoder().encode(`${PURPOSE}\0`);
    // A storage key has no scheme, so OAEP takes its name algorithm (Part 1 annex B).
    return [secret, publicEncrypt({ key, padding, oaepHash: hash.name, oaepLabel }, secret.bytes)];
  } catch (cause) {
    secret[Symbol.dispose]();
    throw unusable(cause);
  }
}

/** One-pass ECDH with a key pair of the moment, then KDFe: Part 1 annex C. */
async function eccSalt(
  hash: NameHash,
  { point, x }: Extract<PrimaryPublicKey, { type: "ecc" }>,
  own: EphemeralKeyPair,
): Promise<[SecretBytes, Uint8Array]> {
  let z: Uint8Array;
  try {
    z = await own.agree(point);
  } catch (cause) {
    throw unusable(cause);
  }
  const secret = kdfE(hash, z, PURPOSE, own.x, x, hash.size * 8);
  z.fill(0);
  return [secret, concat(sized(own.x), sized(own.y))];
}

function unusable(cause: unknown): LatchkeyError {
  return new LatchkeyError("tpm2/bad-answer", "the TPM's primary key cannot be used: it is not a key of its kind", {
    cause,
  });
}
