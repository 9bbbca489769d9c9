import { createPublicKey, verify } from "node:crypto";
import { decodeBase64url } from "./base64url.ts";
import { type EcPublicKey, ecPublicJwk } from "./ec-jwk.ts";
import { arrayMember, isJsonObject, type JsonObject, member, parseJsonObject, stringMember } from "./json.ts";
import { malformed } from "./malformed.ts";

/** tangd signs once with each of its keys, of which it has a handful; bounds the verifications. */
const MAX_SIGNATURES = 16;

interface Signature {
  readonly header: JsonObject;
  /** What was signed: both parts as they were received (RFC 7515 section 5.1). */
  readonly signed: Uint8Array;
  readonly bytes: Uint8Array;
}

/** A JWS in JSON form, flattened or general (RFC 7515 section 7.2). */
export interface Jws {
  readonly payload: Uint8Array;
  readonly signatures: readonly Signature[];
}

/** @param what names it in messages */
export function parseJws(json: JsonObject, what: string): Jws {
  const payload = stringMember(json, "payload", what);
  const isGeneral = member(json, "signatures") !== undefined;
  const signatures = isGeneral ? arrayMember(json, "signatures", what) : [json];
  if (signatures.length > MAX_SIGNATURES) {
    throw malformed(`${what} has ${signatures.length} signatures, more than ${MAX_SIGNATURES}`);
  }
  return {
    payload: decodeBase64url(payload, `the payload of ${what}`),
    signatures: signatures.map((signature) => parseSignature(signature, payload, what)),
  };
}

function parseSignature(json: unknown, payload: string, what: string): Signature {
  if (!isJsonObject(json)) throw malformed(`${what} has a signature that is not an object`);
  const encodedHeader = stringMember(json, "protected", what);
  const headerName = `the signature header of ${what}`;
  return {
    header: parseJsonObject(decodeBase64url(encodedHeader, headerName), headerName),
    signed: new TextEncoder().encode(`${encodedHeader}.${payload}`),
    bytes: decodeBase64url(stringMember(json, "signature", what), `the signature of ${what}`),
  };
}

/**
 * Did this key sign it? The algorithm comes from the key's curve, and the header must say the same: a JWS cannot choose. A
 * signature whose header makes demands (`crit`) counts as none.
 */
export function isSignedBy(jws: Jws, key: EcPublicKey): boolean {
  const { signature, signatureHash } = key.curve;
  const publicKey = createPublicKey({ key: ecPublicJwk(key), format: "jwk" });
  return jws.signatures.some(
    ({ header, signed, bytes }) =>
      member(header, "alg") === signature &&
      member(header, "crit") === undefined &&
      // r and s in full length one after the other (RFC 7518 section 3.4), not DER.
      bytes.length === 2 * key.curve.coordinateBytes &&
      verify(signatureHash, signed, { key: publicKey, dsaEncoding: "ieee-p1363" }, bytes),
  );
}
