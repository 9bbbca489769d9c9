import { createHash } from "node:crypto";
import { SecretBytes } from "../system/secret-bytes.ts";
import { KEY_BYTES } from "./a256gcm.ts";
import { decodeBase64url } from "./base64url.ts";
import { type JsonObject, member, stringMember } from "./json.ts";

/** The algorithm that the key is for: with direct agreement the content encryption (RFC 7518 section 4.6.2). */
const ALGORITHM_ID = "A256GCM";

/**
 * The content key from an agreed secret: the Concat KDF of NIST SP 800-56A with SHA-256, one round (RFC 7518 section 4.6.2).
 * `header` may hold apu and apv; clevis writes neither.
 */
export function contentKey(agreed: SecretBytes, header: JsonObject): SecretBytes {
  const partyInfo = (name: "apu" | "apv"): Uint8Array =>
    member(header, name) === undefined
      ? new Uint8Array()
      : decodeBase64url(stringMember(header, name, "the token's header"), `${name} of the token's header`);
  const digest = createHash("sha256")
    .update(bigEndian32(1))
    .update(agreed.bytes)
    .update(withLength(new TextEncoder().encode(ALGORITHM_ID)))
    .update(withLength(partyInfo("apu")))
    .update(withLength(partyInfo("apv")))
    .update(bigEndian32(KEY_BYTES * 8))
    .digest();
  return SecretBytes.take(digest);
}

function bigEndian32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value);
  return bytes;
}

function withLength(bytes: Uint8Array): Uint8Array {
  return Buffer.concat([bigEndian32(bytes.length), bytes]);
}
