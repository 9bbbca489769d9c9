import { type EcPublicKey, keyOperations, parseEcPublicKey, thumbprint } from "../../jose/ec-jwk.ts";
import { arrayMember, type JsonObject, member, objectMember, stringMember } from "../../jose/json.ts";
import { malformed, quote, unsupported } from "../../jose/malformed.ts";
import { LatchkeyError } from "../../system/errors.ts";

/** tangd keeps a handful of keys; each costs a hash. */
const MAX_ADVERTISED_KEYS = 64;
const MAX_URL_CHARACTERS = 2048;
/** Those of any hash that a key could be named by. */
const MAX_THUMBPRINT_CHARACTERS = 128;
/** 160 bits in base64url; a SHA-256 thumbprint has 43. */
const SHA1_CHARACTERS = 27;

/** A tang pin, ready to be asked about: both points are on one curve, and the server's key is the one that kid names. */
export interface TangPin {
  readonly kind: "tang";
  /** Where the server is, without a slash at the end. */
  readonly url: string;
  /** The name of the server's exchange key: safe to put into a path. */
  readonly keyId: string;
  readonly serverKey: EcPublicKey;
  /** The token's half, `epk`. */
  readonly clientKey: EcPublicKey;
}

/** clevis src/pins/tang/clevis-decrypt-tang, up to the point where it sends something. */
export function parseTangPin(header: JsonObject, data: JsonObject): TangPin {
  const url = tangUrl(stringMember(data, "url", "the tang pin"));
  const keyId = stringMember(header, "kid", "the token's header");
  if (!isThumbprint(keyId)) throw malformed("the token's header has a kid that is no thumbprint");
  const clientKey = parseEcPublicKey(member(header, "epk"), "the token's key epk");
  const serverKey = advertisedKey(objectMember(data, "adv", "the tang pin"), keyId);
  if (serverKey.curve !== clientKey.curve) {
    throw malformed(`the token's key epk is on ${clientKey.curve.name}, and the server's on ${serverKey.curve.name}`);
  }
  return { kind: "tang", url, keyId, serverKey, clientKey };
}

const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const DIGITS = "0123456789";
/** RFC 3986 section 3.1. */
const SCHEME_CHARACTERS = `${LETTERS}${DIGITS}+.-`;
const BASE64URL_CHARACTERS = `${LETTERS}${DIGITS}-_`;

/** Without regular expressions: the first one that a program uses takes as long as a hundred of these. */
function consistsOf(text: string, characters: string): boolean {
  for (const character of text) if (!characters.includes(character)) return false;
  return true;
}

function isThumbprint(text: string): boolean {
  return text.length >= 1 && text.length <= MAX_THUMBPRINT_CHARACTERS && consistsOf(text, BASE64URL_CHARACTERS);
}

function hasScheme(text: string): boolean {
  const scheme = text.slice(0, Math.max(0, text.indexOf("://")));
  return scheme !== "" && consistsOf(scheme, SCHEME_CHARACTERS) && LETTERS.includes(scheme[0] ?? " ");
}

/** An address as clevis gives it to curl, which takes http when there is no scheme. */
export function tangUrl(text: string): string {
  if (text.length > MAX_URL_CHARACTERS) throw malformed("the tang pin has a url that is too long");
  const withScheme = hasScheme(text) ? text : `http://${text}`;
  let url: URL;
  try {
    url = new URL(withScheme);
  } catch (cause) {
    throw malformed(`the tang pin has a url that is none: ${quote(text)}`, cause);
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    // fetch would open files, too
    throw malformed(`the tang pin has a url that is neither http nor https: ${quote(text)}`);
  }
  if (url.username !== "" || url.password !== "") throw unsupported("the tang pin has a url with a user name in it");
  if (url.search !== "" || url.hash !== "") throw malformed(`the tang pin has a url with a query: ${quote(text)}`);
  const { href } = url;
  let end = href.length;
  while (href[end - 1] === "/") end -= 1;
  return href.slice(0, end);
}

/** The key that kid names, by its SHA-256 thumbprint; by SHA-1 in tokens from before clevis 17. */
function advertisedKey(advertisement: JsonObject, keyId: string): EcPublicKey {
  const keys = arrayMember(advertisement, "keys", "adv of the tang pin");
  if (keys.length > MAX_ADVERTISED_KEYS) {
    throw malformed(`adv of the tang pin has ${keys.length} keys, more than ${MAX_ADVERTISED_KEYS}`);
  }
  const hash = keyId.length === SHA1_CHARACTERS ? "sha1" : "sha256";
  for (const json of keys) {
    const key = tryEcKey(json);
    if (!key || thumbprint(key, hash) !== keyId) continue;
    const operations = keyOperations(json);
    if (operations.length > 0 && !operations.includes("deriveKey")) {
      throw malformed("the token's kid names a signing key of the server, not an exchange key");
    }
    return key;
  }
  throw malformed("the token's kid is not among the keys in adv");
}

/** Other keys beside the wanted one are not our business. */
function tryEcKey(json: unknown): EcPublicKey | undefined {
  try {
    return parseEcPublicKey(json, "an advertised key");
  } catch (thrown) {
    if (thrown instanceof LatchkeyError) return undefined;
    throw thrown;
  }
}
