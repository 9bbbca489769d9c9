import { SecretBytes } from "../system/secret-bytes.ts";
import type { NameHash } from "./algorithms.ts";
import { u32 } from "./wire.ts";

/** Bun's hasher writes its result where it is told to, and wants room for its longest hash, whichever it is. */
const HASHER_ROOM = 64;

/** Labels are sent through the KDFs with their final NUL, TPM 2.0 Part 1 section 11.4.10. */
function label(text: string): Uint8Array {
  return new TextEncoder().encode(`${text}\0`);
}

/**
 * KDFa, Part 1 section 11.4.10.2: HMAC in counter mode (NIST SP 800-108).
 * @param bits of the result, a multiple of 8
 */
export function kdfA(
  hash: NameHash,
  key: Uint8Array,
  use: string,
  contextU: Uint8Array,
  contextV: Uint8Array,
  bits: number,
): SecretBytes {
  return inBlocks(hash, bits, (counter) =>
    new Bun.CryptoHasher(hash.name, key)
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
  hash: NameHash,
  z: Uint8Array,
  use: string,
  partyU: Uint8Array,
  partyV: Uint8Array,
  bits: number,
): SecretBytes {
  return inBlocks(hash, bits, (counter) =>
    new Bun.CryptoHasher(hash.name).update(u32(counter)).update(z).update(label(use)).update(partyU).update(partyV),
  );
}

/** Counter from 1 on, until there is enough. */
function inBlocks(hash: NameHash, bits: number, block: (counter: number) => Bun.CryptoHasher): SecretBytes {
  const result = SecretBytes.allocate(bits / 8);
  using output = SecretBytes.allocate(HASHER_ROOM);
  for (let offset = 0, counter = 1; offset < result.length; offset += hash.size, counter++) {
    block(counter).digest(output.bytes);
    result.bytes.set(output.bytes.subarray(0, Math.min(hash.size, result.length - offset)), offset);
  }
  return result;
}
