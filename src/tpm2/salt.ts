import { constants, createECDH, publicEncrypt } from "node:crypto";
import { LatchkeyError } from "../system/errors.ts";
import { SecretBytes } from "../system/secret-bytes.ts";
import type { Curve, HashAlgorithm } from "./algorithms.ts";
import { kdfE } from "./kdf.ts";
import type { PrimaryKey } from "./primary.ts";
import { concat, sized } from "./wire.ts";

/** Fills with random bytes; another one only in tests that replay a recorded TPM. */
export type Randomness = (bytes: Uint8Array) => void;

/** What this label is for: TPM 2.0 Part 1, secret sharing in annexes B (RSA) and C (ECC). */
const PURPOSE = "SECRET";
/** Draws for a private key below the order of its curve; each fails with less than 2^-32, P-521 after masking with 2^-1. */
const KEY_DRAWS = 128;

/** The salt of a session, and how it goes to the TPM. */
export interface Salt extends Disposable {
  readonly secret: SecretBytes;
  /** TPM2B_ENCRYPTED_SECRET without its length. */
  readonly encrypted: Uint8Array;
}

/**
 * Makes a salt that only the holder of the primary's private part can know.
 * @throws LatchkeyError tpm2/bad-answer when the primary's public key is not one
 */
export function makeSalt(primary: PrimaryKey, random: Randomness): Salt {
  const { hash, publicKey } = primary;
  if (publicKey.type === "ecc") return eccSalt(hash, publicKey.curve, publicKey.point, publicKey.x, random);
  const secret = SecretBytes.allocate(hash.size);
  random(secret.bytes);
  try {
    const padding = constants.RSA_PKCS1_OAEP_PADDING;
    const oaepLabel = new TextEncoder().encode(`${PURPOSE}\0`);
    // A storage key has no scheme, so OAEP takes its name algorithm (Part 1 annex B).
    const encrypted = publicEncrypt({ key: publicKey.key, padding, oaepHash: hash.name, oaepLabel }, secret.bytes);
    return { secret, encrypted, [Symbol.dispose]: () => secret[Symbol.dispose]() };
  } catch (cause) {
    secret[Symbol.dispose]();
    throw unusable(cause);
  }
}

/** One-pass ECDH with a key pair of the moment, then KDFe: Part 1 annex C. */
function eccSalt(hash: HashAlgorithm, curve: Curve, point: Uint8Array, x: Uint8Array, random: Randomness): Salt {
  const pair = createECDH(curve.nodeName);
  using scalar = SecretBytes.allocate(curve.size);
  for (let draw = 0; ; draw++) {
    random(scalar.bytes);
    if (curve.size === 66) scalar.bytes[0] = (scalar.bytes[0] ?? 0) & 1; // 521 bits
    try {
      pair.setPrivateKey(scalar.bytes);
      break;
    } catch (cause) {
      if (draw >= KEY_DRAWS) throw new LatchkeyError("internal/defect", "no random key fits the curve", { cause });
    }
  }
  let z: Buffer;
  try {
    z = pair.computeSecret(point); // refuses a point that is not on the curve
  } catch (cause) {
    throw unusable(cause);
  }
  const own = pair.getPublicKey(); // uncompressed: 4, x, y
  const ownX = own.subarray(1, 1 + curve.size);
  const secret = kdfE(hash, z, PURPOSE, ownX, x, hash.size * 8);
  z.fill(0);
  const encrypted = concat(sized(ownX), sized(own.subarray(1 + curve.size)));
  return { secret, encrypted, [Symbol.dispose]: () => secret[Symbol.dispose]() };
}

function unusable(cause: unknown): LatchkeyError {
  return new LatchkeyError("tpm2/bad-answer", "the TPM's primary key cannot be used: it is not a key of its kind", {
    cause,
  });
}
