import { createCipheriv, createDecipheriv, randomFillSync } from "node:crypto";
import { LatchkeyError } from "../system/errors.ts";
import { SecretBytes } from "../system/secret-bytes.ts";
import { encodeBase64url } from "./base64url.ts";
import { type JsonObject, sortedJson } from "./json.ts";
import type { Jwe } from "./jwe.ts";
import { malformed } from "./malformed.ts";

export const KEY_BYTES = 32;

const CIPHER = "aes-256-gcm";
const IV_BYTES = 12;
const TAG_BYTES = 16;

/**
 * The plaintext of a JWE with `enc` A256GCM (RFC 7518 section 5.3). Nothing is given out before the tag has been checked;
 * what the cipher had produced until then is wiped. The key stays the caller's.
 */
export function decryptA256gcm(key: SecretBytes, jwe: Jwe): SecretBytes {
  requireKeyLength(key);
  const decipher = createDecipheriv(CIPHER, key.bytes, jwe.iv, { authTagLength: TAG_BYTES });
  decipher.setAAD(Buffer.from(jwe.encodedHeader, "latin1"));
  decipher.setAuthTag(jwe.tag);
  const unchecked = decipher.update(jwe.ciphertext);
  try {
    decipher.final();
  } catch {
    unchecked.fill(0);
    throw new LatchkeyError("token/tag-mismatch", "the token's tag does not hold: it was altered or damaged");
  }
  try {
    return SecretBytes.take(unchecked);
  } finally {
    unchecked.fill(0); // when there was no memory for the secret
  }
}

/** A compact JWE with this header, whose content key is agreed on outside: its second part is empty. */
export function encryptA256gcm(key: SecretBytes, header: JsonObject, plaintext: SecretBytes): string {
  requireKeyLength(key);
  const encodedHeader = encodeBase64url(new TextEncoder().encode(sortedJson(header)));
  const iv = randomFillSync(new Uint8Array(IV_BYTES));
  const cipher = createCipheriv(CIPHER, key.bytes, iv, { authTagLength: TAG_BYTES });
  cipher.setAAD(Buffer.from(encodedHeader, "latin1"));
  const ciphertext = cipher.update(plaintext.bytes);
  cipher.final();
  return [encodedHeader, "", ...[iv, ciphertext, cipher.getAuthTag()].map(encodeBase64url)].join(".");
}

function requireKeyLength(key: SecretBytes): void {
  if (key.length !== KEY_BYTES)
    throw malformed(`the content key has ${key.length} bytes, and A256GCM needs ${KEY_BYTES}`);
}
