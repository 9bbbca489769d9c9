import { ALG, digest, type NameHash } from "./algorithms.ts";
import { concat, hexCode, sameBytes, sized, u16, u32, WireReader } from "./wire.ts";

/** TPMA_OBJECT, TPM 2.0 Part 2 section 8.3. */
const ATTRIBUTE = {
  fixedTpm: 1 << 1,
  fixedParent: 1 << 4,
  userWithAuth: 1 << 6,
  adminWithPolicy: 1 << 7,
  noDictionaryAttack: 1 << 10,
} as const;

/** What latchkey needs of the public area of a sealed object. */
export interface SealedPublic {
  /** TPMT_PUBLIC, as named by the object's Name. */
  readonly area: Uint8Array;
  /** Empty when the object opens with its (empty) password. */
  readonly authPolicy: Uint8Array;
  /** The password is enough. */
  readonly userWithAuth: boolean;
  /** nameAlg and digest of the area, Part 1 section 16: what the TPM calls the object. */
  readonly name: Uint8Array;
}

/**
 * The TPM2B_PUBLIC of a token's sealed object (Part 2 section 12.2.5): a keyed hash object without a scheme, the one kind
 * that TPM2_Unseal opens.
 * @param hash the name algorithm that the token states
 * @throws LatchkeyError token/malformed
 */
export function parseSealedPublic(whole: Uint8Array, hash: NameHash): SealedPublic {
  const outer = new WireReader(whole, "the token's jwk_pub", "token/malformed");
  const area = outer.sized();
  outer.end();
  const reader = new WireReader(area, "the token's jwk_pub", "token/malformed");
  const type = reader.u16();
  if (type !== ALG.keyedHash) throw reader.fail(`it is an object of type ${hexCode(type)}, not a sealed secret`);
  const nameAlg = reader.u16();
  if (nameAlg !== hash.id) throw reader.fail(`its hash is ${hexCode(nameAlg)}, the token says ${hash.name}`);
  const attributes = reader.u32();
  const authPolicy = reader.sized();
  if (authPolicy.length !== 0 && authPolicy.length !== hash.size) throw reader.fail("its policy is not a digest");
  const scheme = reader.u16();
  if (scheme !== ALG.null) throw reader.fail(`it has scheme ${hexCode(scheme)}, which a sealed secret has not`);
  const unique = reader.sized();
  if (unique.length !== hash.size) throw reader.fail("its unique field is not a digest");
  reader.end();
  return {
    area,
    authPolicy,
    userWithAuth: (attributes & ATTRIBUTE.userWithAuth) !== 0,
    name: objectName(hash, area),
  };
}

/**
 * The TPMT_PUBLIC for an object to be sealed, as clevis makes it (clevis-encrypt-tpm2): it never counts for the dictionary
 * attack lockout, and its password opens it only where there is no policy.
 * @param authPolicy a policy digest, or nothing
 */
export function sealedTemplate(hash: NameHash, authPolicy: Uint8Array | undefined): Uint8Array {
  const base = ATTRIBUTE.fixedTpm | ATTRIBUTE.fixedParent | ATTRIBUTE.adminWithPolicy | ATTRIBUTE.noDictionaryAttack;
  const attributes = authPolicy ? base : base | ATTRIBUTE.userWithAuth;
  return concat(
    u16(ALG.keyedHash),
    u16(hash.id),
    u32(attributes),
    sized(authPolicy ?? new Uint8Array()),
    u16(ALG.null),
    u16(0),
  );
}

/** Is this the object that was asked for? Everything but `unique`, which the TPM fills in, has to be the same. */
export function isMadeFrom(template: Uint8Array, area: Uint8Array): boolean {
  const common = template.length - 2; // without the empty unique field
  return sameBytes(template.subarray(0, common), area.subarray(0, common));
}

/** An object's Name: its nameAlg and the digest of its TPMT_PUBLIC, Part 1 section 16. */
export function objectName(hash: NameHash, area: Uint8Array): Uint8Array {
  return concat(u16(hash.id), digest(hash, area));
}
