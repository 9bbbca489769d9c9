import { octJwkText } from "../../jose/oct-jwk.ts";
import { LatchkeyError } from "../../system/errors.ts";
import type { SecretBytes } from "../../system/secret-bytes.ts";
import { hashByName, type NameHash, nameHash } from "../../tpm2/algorithms.ts";
import { type PcrSelection, pcrSelection } from "../../tpm2/pcr-selection.ts";
import { readPcrs } from "../../tpm2/pcrs.ts";
import { pcrPolicyDigest } from "../../tpm2/policy.ts";
import { primaryTemplate } from "../../tpm2/primary.ts";
import { seal } from "../../tpm2/seal.ts";
import type { Tpm, TpmTurn } from "../../tpm2/tpm.ts";
import { type Tpm2PinHeader, tpm2PinHeader } from "./tpm2-pin.ts";

/** What the PCRs are to hold when the token is opened. */
export type PcrExpectation =
  /** What they hold now. */
  | { readonly kind: "today" }
  /** Given values in a row, in ascending order of the PCRs: what clevis calls pcr_digest. */
  | { readonly kind: "values"; readonly values: Uint8Array }
  /** The policy digest itself, made elsewhere: TPM2_PolicyPCR with the name algorithm. */
  | { readonly kind: "policy"; readonly digest: Uint8Array };

/** What `clevis encrypt tpm2` takes as its configuration. */
export interface Tpm2SealOptions {
  /** Type of the primary key: `ecc` (default), `rsa`, … */
  readonly key?: string;
  /** Name algorithm: sha256 by default. With another one and PCRs, clevis itself cannot open the token. */
  readonly hash?: string;
  /** Nothing or empty: any system that runs on this machine can open it. */
  readonly pcrs?: readonly number[];
  /** sha256 by default. clevis takes sha1 there, which firmware of today often leaves off. */
  readonly bank?: string;
  /** Today's values by default. */
  readonly expect?: PcrExpectation;
}

/**
 * Seals a content key as `clevis encrypt tpm2` does.
 * @param key 32 bytes; stays the caller's
 * @returns the object `clevis.tpm2` for the header of the token
 * @throws LatchkeyError config/invalid-value; token/unsupported; what the TPM answers
 */
export async function sealTpm2Key(
  tpm: Tpm,
  key: SecretBytes,
  options: Tpm2SealOptions,
  signal: AbortSignal,
): Promise<Tpm2PinHeader> {
  const keyType = options.key ?? "ecc";
  const hash = nameHash(options.hash ?? "sha256");
  const primary = primaryTemplate(keyType, hash);
  const bank = hashByName(options.bank ?? "sha256", "the PCR bank");
  const pcrs = options.pcrs ?? [];
  const selection = pcrs.length === 0 ? undefined : pcrSelection(bank, pcrs, "config/invalid-value");
  const expect = options.expect ?? { kind: "today" };
  if (!selection && expect.kind !== "today") throw invalid("PCR values were given, and no PCRs to seal to");
  const given = selection && givenPolicy(hash, selection, expect);
  using jwk = octJwkText(key);
  const parts = await tpm.use(signal, async (turn) => {
    const policy = given ?? (selection && (await todaysPolicy(turn, hash, selection)));
    return seal(turn, primary, hash, policy, jwk);
  });
  return tpm2PinHeader(keyType, hash.name, parts, selection);
}

function givenPolicy(hash: NameHash, selection: PcrSelection, expect: PcrExpectation): Uint8Array | undefined {
  if (expect.kind === "today") return undefined;
  if (expect.kind === "policy") {
    if (expect.digest.length === hash.size) return expect.digest;
    throw invalid(`a policy digest of ${hash.name} has ${hash.size} bytes, not ${expect.digest.length}`);
  }
  const { size, name } = selection.bank;
  const { values } = expect;
  const wanted = selection.pcrs.length * size;
  if (values.length !== wanted) {
    throw invalid(`${selection.pcrs.length} PCR values of ${name} have ${wanted} bytes, not ${values.length}`);
  }
  return pcrPolicyDigest(hash, selection, [values]);
}

async function todaysPolicy(turn: TpmTurn, hash: NameHash, selection: PcrSelection): Promise<Uint8Array> {
  return pcrPolicyDigest(hash, selection, await readPcrs(turn, selection));
}

function invalid(why: string): LatchkeyError {
  return new LatchkeyError("config/invalid-value", why);
}
