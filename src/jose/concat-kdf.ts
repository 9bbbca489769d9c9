import { SecretBytes } from "../system/secret-bytes.ts";
import { KEY_BYTES } from "./a256gcm.ts";
import { decodeBase64url } from "./base64url.ts";
import { type JsonObject, member, stringMember } from "./json.ts";

/** The algorithm that the key is for: with direct agreement the content encryption (RFC 7518 section 4.6.2). */
const ALGORITHM_ID = "A256GCM";

/** Bun wants room for its longest hash, whichever it is. */
const HASHER_ROOM = 64;

/**
 * The content key from an agreed secret: the Concat KDF of NIST SP 800-56A with SHA-256, one round (RFC 7518 section 4.6.2).
 * `header` may hold apu and apv; clevis writes neither.
 */
export function contentKey(agreed: SecretBytes, header: JsonObject): SecretBytes {
  const partyInfo = (name: "apu" | "apv"): Uint8Array =>
    member(header, name) === undefined
      ? new Uint8Array()
      : decodeBase64url(stringMember(header, name, "the token's header"), `${name} of the token's header`);
  // Bun's own hasher writes its result where it is told to; that of node:crypto leaves a copy in memory it has freed.
  const hasher = new Bun.CryptoHasher("sha256").update(bigEndian32(1)).update(agreed.bytes);
  for (const part of [new TextEncoder().encode(ALGORITHM_ID), partyInfo("apu"), partyInfo("apv")]) {
    hasher.update(bigEndian32(part.length)).update(part);
  }
  hasher.update(bigEndian32(KEY_BYTES * 8));
  const key = SecretBytes.allocate(HASHER_ROOM);
  hasher.digest(key.bytes);
  return key.truncate(KEY_BYTES);
}

function bigEndian32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value);
  return bytes;
}
