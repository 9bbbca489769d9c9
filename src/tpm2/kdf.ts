import { createHash, createHmac, type Hash, type Hmac } from "node:crypto";
import { SecretBytes } from "../system/secret-bytes.ts";
import type { HashAlgorithm } from "./algorithms.ts";
import { u32 } from "./wire.ts";

/** Labels are sent through the KDFs with their final NUL, TPM 2.0 Part 1 section 11.4.10. */
function label(text: string): Uint8Array {
  return new TextEncoder().encode(`${text}\0`);
}

/**
 * KDFa, Part 1 section 11.4.10.2: HMAC in counter mode (NIST SP 800-108).
 * @param bits of the result, a multiple of 8
 */
export function kdfA(
  hash: HashAlgorithm,
  key: Uint8Array,
  use: string,
  contextU: Uint8Array,
  contextV: Uint8Array,
  bits: number,
): SecretBytes {
  return inBlocks(hash, bits, (counter) =>
    createHmac(hash.name, key)
      .update(u32(counter))
      .update(label(use))
      .update(contextU)
      .update(contextV)
      .update(u32(bits)),
  );
}

/**
 * KDFe, Part 1 section 11.4.10.3: hash in counter mode (NIST SP 800-56A) over the x coordinate of a shared point.
 * @param bits of the result, a multiple of 8
 */
export function kdfE(
  hash: HashAlgorithm,
  z: Uint8Array,
  use: string,
  partyU: Uint8Array,
  partyV: Uint8Array,
  bits: number,
): SecretBytes {
  return inBlocks(hash, bits, (counter) =>
    createHash(hash.name).update(u32(counter)).update(z).update(label(use)).update(partyU).update(partyV),
  );
}

/** Counter from 1 on, until there is enough. */
function inBlocks(hash: HashAlgorithm, bits: number, block: (counter: number) => Hash | Hmac): SecretBytes {
  const result = SecretBytes.allocate(bits / 8);
  for (let offset = 0, counter = 1; offset < result.length; offset += hash.size, counter++) {
    const output = block(counter).digest();
    result.bytes.set(output.subarray(0, result.length - offset), offset);
    output.fill(0);
  }
  return result;
}
