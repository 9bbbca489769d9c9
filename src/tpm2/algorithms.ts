import { LatchkeyError } from "../system/errors.ts";

/** TPM_ALG_ID, TPM 2.0 Part 2 section 6.3 (TCG Algorithm Registry). */
export const ALG = {
  rsa: 0x0001,
  hmac: 0x0005,
  aes: 0x0006,
  keyedHash: 0x0008,
  xor: 0x000a,
  null: 0x0010,
  ecc: 0x0023,
  cfb: 0x0043,
} as const;

/** A hash algorithm as tpm2-tools and clevis spell it. */
export interface HashAlgorithm {
  readonly name: HashName;
  readonly id: number;
  /** Octets of a digest. */
  readonly size: number;
}

export type HashName = "sha1" | "sha256" | "sha384" | "sha512" | "sm3_256" | "sha3_256" | "sha3_384" | "sha3_512";

export const hashAlgorithms: readonly HashAlgorithm[] = [
  { name: "sha1", id: 0x0004, size: 20 },
  { name: "sha256", id: 0x000b, size: 32 },
  { name: "sha384", id: 0x000c, size: 48 },
  { name: "sha512", id: 0x000d, size: 64 },
  { name: "sm3_256", id: 0x0012, size: 32 },
  { name: "sha3_256", id: 0x0027, size: 32 },
  { name: "sha3_384", id: 0x0028, size: 48 },
  { name: "sha3_512", id: 0x0029, size: 64 },
];

/** Those that latchkey can compute itself, which a name algorithm must be; a PCR bank need not. */
const computableHashes = ["sha1", "sha256", "sha384", "sha512"] as const;
export type ComputableHash = (typeof computableHashes)[number];

export function hashById(id: number): HashAlgorithm | undefined {
  return hashAlgorithms.find((hash) => hash.id === id);
}

/** @throws LatchkeyError token/unsupported */
export function hashByName(name: string, purpose: string): HashAlgorithm {
  for (const hash of hashAlgorithms) if (hash.name === name) return hash;
  throw new LatchkeyError("token/unsupported", `latchkey does not know ${purpose} ${JSON.stringify(name)}`);
}

/** A hash that latchkey can compute. */
export interface NameHash extends HashAlgorithm {
  readonly name: ComputableHash;
}

function isComputable(hash: HashAlgorithm): hash is NameHash {
  return (computableHashes as readonly string[]).includes(hash.name);
}

/** A hash that names objects and drives sessions. @throws LatchkeyError token/unsupported */
export function nameHash(name: string): NameHash {
  const found = hashByName(name, "the hash algorithm");
  if (!isComputable(found)) throw new LatchkeyError("token/unsupported", `latchkey cannot compute ${found.name}`);
  return found;
}

/** The digest of public parts. */
export function digest(hash: NameHash, ...parts: readonly Uint8Array[]): Uint8Array {
  const state = new Bun.CryptoHasher(hash.name);
  for (const part of parts) state.update(part);
  return state.digest();
}

/** An elliptic curve that a primary may use. */
export interface Curve {
  /** TPM_ECC_CURVE, Part 2 section 6.4. */
  readonly id: number;
  /** Its name in WebCrypto. */
  readonly name: string;
  /** Octets of a coordinate. */
  readonly size: number;
}

export const curves = {
  256: { id: 0x0003, name: "P-256", size: 32 },
  384: { id: 0x0004, name: "P-384", size: 48 },
  521: { id: 0x0005, name: "P-521", size: 66 },
} as const satisfies Record<number, Curve>;
