import { decodeBase64url, encodeBase64url } from "./base64url.ts";
import { type Curve, curveNamed, isOnCurve, toBigInt } from "./curves.ts";
import { isJsonObject, type JsonObject, member, stringMember } from "./json.ts";
import { malformed, quote } from "./malformed.ts";

/** A point that is known to be on its curve. */
export interface EcPublicKey {
  readonly curve: Curve;
  readonly x: Uint8Array;
  readonly y: Uint8Array;
}

/**
 * The public key in a JWK (RFC 7518 section 6.2.1). Coordinates that are short, too large or off the curve are refused: an
 * exchange with such a point can give the private half away.
 * @param what names the key in messages
 */
export function parseEcPublicKey(json: unknown, what: string): EcPublicKey {
  if (!isJsonObject(json)) throw malformed(`${what} is ${json === undefined ? "missing" : "not a JWK"}`);
  const type = stringMember(json, "kty", what);
  if (type !== "EC") throw malformed(`${what} has kty ${quote(type)} instead of "EC"`);
  const curveName = stringMember(json, "crv", what);
  const curve = curveNamed(curveName);
  if (!curve) throw malformed(`${what} is on curve ${quote(curveName)}, and Tang knows P-256, P-384 and P-521`);
  const x = coordinate(json, "x", curve, what);
  const y = coordinate(json, "y", curve, what);
  if (!isOnCurve(curve, toBigInt(x), toBigInt(y))) throw malformed(`${what} is no point of ${curve.name}`);
  return { curve, x, y };
}

function coordinate(json: JsonObject, name: "x" | "y", curve: Curve, what: string): Uint8Array {
  const bytes = decodeBase64url(stringMember(json, name, what), `${name} of ${what}`);
  if (bytes.length === curve.coordinateBytes) return bytes;
  throw malformed(`${name} of ${what} has ${bytes.length} bytes instead of ${curve.coordinateBytes}`);
}

/** With the members that every EC public key has, in the order of RFC 7638 section 3.2. */
export function ecPublicJwk({ curve, x, y }: EcPublicKey) {
  return { crv: curve.name, kty: "EC", x: encodeBase64url(x), y: encodeBase64url(y) };
}

/** The octets of SEC 1 section 2.3.3, uncompressed, as OpenSSL takes points. */
export function uncompressedPoint({ x, y }: EcPublicKey): Uint8Array {
  const point = new Uint8Array(1 + x.length + y.length);
  point[0] = 4;
  point.set(x, 1);
  point.set(y, 1 + x.length);
  return point;
}

/** SHA-256 as clevis writes it since version 17; SHA-1, which names a key here and guards nothing, as before. */
export type ThumbprintHash = "sha256" | "sha1";

/** RFC 7638: the hash of the required members in alphabetical order without spaces. */
export function thumbprint(key: EcPublicKey, hash: ThumbprintHash = "sha256"): string {
  return new Bun.CryptoHasher(hash).update(JSON.stringify(ecPublicJwk(key))).digest("base64url");
}

/** `key_ops` (RFC 7517 section 4.3); empty where there is none. */
export function keyOperations(json: unknown): readonly string[] {
  const operations = isJsonObject(json) ? member(json, "key_ops") : undefined;
  return Array.isArray(operations) ? operations.filter((operation) => typeof operation === "string") : [];
}
