import { LatchkeyError } from "../system/errors.ts";
import { decodeBase64url } from "./base64url.ts";
import { type JsonObject, member, parseJsonObject, stringMember } from "./json.ts";
import { malformed, quote, unsupported } from "./malformed.ts";

/** A token of a disk has a few KiB of header; each level of sss adds a third. Bounds what JSON.parse is given. */
export const MAX_ENCODED_HEADER = 1024 * 1024;

/** Octets of a secret in a token. A disk's has some dozens; bounds the arithmetic before its tag has been checked. */
export const MAX_CIPHERTEXT = 1024 * 1024;

/** Room for the longest header and the longest secret, in base64url. */
export const MAX_TOKEN_CHARACTERS = MAX_ENCODED_HEADER + Math.ceil((MAX_CIPHERTEXT * 4) / 3) + 1024;

/** AES-GCM as RFC 7518 section 5.3 fixes it. */
const IV_BYTES = 12;
const TAG_BYTES = 16;

/** A JWE (RFC 7516) with its parts decoded; what they mean has not been checked. */
export interface Jwe {
  /** The header as it was received: these characters are what the tag covers (RFC 7516 section 5.1 step 14). */
  readonly encodedHeader: string;
  readonly header: JsonObject;
  readonly encryptedKey: Uint8Array;
  readonly iv: Uint8Array;
  readonly ciphertext: Uint8Array;
  readonly tag: Uint8Array;
}

/** The compact form: five parts of base64url with dots between (RFC 7516 section 7.1). */
export function parseCompactJwe(text: string): Jwe {
  if (text.length > MAX_TOKEN_CHARACTERS) {
    throw new LatchkeyError("token/too-large", `the token is longer than ${MAX_TOKEN_CHARACTERS} characters`);
  }
  if (text === "") throw malformed("the token is empty");
  const parts = text.split(".", 6);
  const [encodedHeader, encryptedKey, iv, ciphertext, tag] = parts;
  if (
    parts.length !== 5 ||
    encodedHeader === undefined ||
    encryptedKey === undefined ||
    iv === undefined ||
    ciphertext === undefined ||
    tag === undefined
  ) {
    throw malformed(
      `a token has five parts with dots between, and this has ${parts.length > 5 ? "more" : parts.length}`,
    );
  }
  if (encodedHeader.length > MAX_ENCODED_HEADER) {
    throw new LatchkeyError("token/too-large", `the token's header is longer than ${MAX_ENCODED_HEADER} characters`);
  }
  if (ciphertext.length > Math.ceil((MAX_CIPHERTEXT * 4) / 3)) {
    throw new LatchkeyError("token/too-large", `the token holds more than ${MAX_CIPHERTEXT} bytes`);
  }
  return {
    encodedHeader,
    header: parseJsonObject(decodeBase64url(encodedHeader, "the token's header"), "the token's header"),
    encryptedKey: decodeBase64url(encryptedKey, "the token's encrypted key"),
    iv: decodeBase64url(iv, "the token's iv"),
    ciphertext: decodeBase64url(ciphertext, "the token's ciphertext"),
    tag: decodeBase64url(tag, "the token's tag"),
  };
}

/** The members of the flattened form (RFC 7516 section 7.2.2) as LUKS2 headers hold it, in the order of the compact form. */
const flattenedMembers = ["protected", "encrypted_key", "iv", "ciphertext", "tag"] as const;

/** The compact form of a flattened JWE: the same characters with dots between. */
export function compactFromFlattened(json: JsonObject): string {
  const what = "the flattened token";
  return flattenedMembers
    .map((name) => {
      // RFC 7516 section 7.2.1: a part that would be empty may be left out.
      const part = member(json, name) === undefined && name === "encrypted_key" ? "" : stringMember(json, name, what);
      if (part.includes(".")) throw malformed(`${what}: ${name} is not base64url`);
      return part;
    })
    .join(".");
}

/** The flattened form of a compact token, as `clevis luks bind` writes it into a LUKS2 header. */
export function flattenedFromCompact(compact: string): Record<(typeof flattenedMembers)[number], string> {
  const [encodedHeader = "", encrypted_key = "", iv = "", ciphertext = "", tag = ""] = compact.split(".");
  return { ciphertext, encrypted_key, iv, protected: encodedHeader, tag };
}

export type KeyManagement = "dir" | "ECDH-ES";

/**
 * Checks that a token is encrypted as every native pin does it: A256GCM, the content key agreed on or given directly, so
 * nothing in the second part (RFC 7516 section 5.2 step 10), and no compression, which clevis never uses.
 */
export function requireA256gcm(jwe: Jwe, keyManagement: KeyManagement): void {
  requireValue(jwe.header, "alg", keyManagement);
  requireValue(jwe.header, "enc", "A256GCM");
  for (const name of ["zip", "crit"]) {
    if (member(jwe.header, name) !== undefined)
      throw unsupported(`the token's header has ${name}, which latchkey does not do`);
  }
  if (jwe.encryptedKey.length !== 0) throw malformed(`the token has an encrypted key, and ${keyManagement} has none`);
  if (jwe.iv.length !== IV_BYTES) throw malformed(`the token's iv has ${jwe.iv.length} bytes instead of ${IV_BYTES}`);
  if (jwe.tag.length !== TAG_BYTES) {
    throw malformed(`the token's tag has ${jwe.tag.length} bytes instead of ${TAG_BYTES}`);
  }
}

function requireValue(header: JsonObject, name: string, wanted: string): void {
  const value = stringMember(header, name, "the token's header");
  if (value !== wanted)
    throw unsupported(`the token's header has ${name} ${quote(value)} where this pin has ${wanted}`);
}
