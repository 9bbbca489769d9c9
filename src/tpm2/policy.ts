import { digest, type NameHash } from "./algorithms.ts";
import { encodeSelection, type PcrSelection } from "./pcr-selection.ts";
import { u32 } from "./wire.ts";

/** TPM_CC_PolicyPCR, which a policy digest names its step by. */
const POLICY_PCR = 0x17f;

/**
 * The policy digest after one TPM2_PolicyPCR (TPM 2.0 Part 3 section 23.7), which is all that clevis uses:
 * H(zeros, command code, selection, H(values)).
 * @param hash the name algorithm of the object
 * @param values of the selected PCRs, in ascending order
 */
export function pcrPolicyDigest(hash: NameHash, selection: PcrSelection, values: readonly Uint8Array[]): Uint8Array {
  const start = new Uint8Array(hash.size);
  return digest(hash, start, u32(POLICY_PCR), encodeSelection(selection), digest(hash, ...values));
}
