import { KEY_BYTES } from "../../jose/a256gcm.ts";
import { decodeBase64url } from "../../jose/base64url.ts";
import { toBigInt } from "../../jose/curves.ts";
import {
  arrayMember,
  isJsonObject,
  type JsonObject,
  member,
  objectMember,
  parseJsonObject,
  stringMember,
} from "../../jose/json.ts";
import {
  compactFromFlattened,
  type Jwe,
  MAX_TOKEN_CHARACTERS,
  parseCompactJwe,
  requireA256gcm,
} from "../../jose/jwe.ts";
import { malformed } from "../../jose/malformed.ts";
import { asLatchkeyError, LatchkeyError } from "../../system/errors.ts";
import { nullPinKey } from "./null.ts";
import { parseTangPin, type TangPin } from "./tang-pin.ts";

export { MAX_TOKEN_CHARACTERS };

/** sss inside sss: people use two levels. Bounds the recursion of everything that walks the tree. */
export const MAX_SSS_LEVELS = 8;
/** Shares of one sss pin that are looked at; the others count as not opened. Each may be a server to talk to. */
export const MAX_SHARES = 64;
/** Pins in a whole token. */
export const MAX_PINS = 256;
/** Octets of the prime and of every number below it: clevis takes 256 bits, and the shared number is the content key. */
export const SSS_NUMBER_BYTES = KEY_BYTES;

/** One Clevis token with what its pin says, all of it checked that can be checked without opening it. */
export interface Token {
  /** The token itself: nothing before or after it. */
  readonly compact: string;
  readonly jwe: Jwe;
  readonly pin: Pin;
}

export type Pin =
  | { readonly kind: "tpm2"; readonly data: JsonObject }
  | TangPin
  | SssPin
  | { readonly kind: "null"; readonly data: JsonObject }
  | { readonly kind: "other"; readonly name: string };

export interface SssPin {
  readonly kind: "sss";
  readonly threshold: number;
  /** Big-endian. */
  readonly prime: Uint8Array;
  readonly shares: readonly Share[];
  /** Shares beyond MAX_SHARES. */
  readonly sharesLeftOut: number;
}

/** A share that does not parse takes nothing away from the others. */
export type Share = { readonly token: Token } | { readonly error: LatchkeyError };

/**
 * A token as it is found: compact, or as JSON in the flattened form, alone or inside the token object of a LUKS2 header.
 * White space after it is allowed: editors add it.
 */
export function parseToken(text: string): Token {
  if (text.length > MAX_TOKEN_CHARACTERS) throw tooLarge(`the token is longer than ${MAX_TOKEN_CHARACTERS} characters`);
  const trimmed = withoutTrailingSpace(text);
  return parseCompact(trimmed.startsWith("{") ? compactFromJson(trimmed) : trimmed, { levels: 0, pins: { count: 0 } });
}

interface Budget {
  readonly levels: number;
  readonly pins: { count: number };
}

function parseCompact(compact: string, budget: Budget): Token {
  budget.pins.count += 1;
  if (budget.pins.count > MAX_PINS) throw tooLarge(`the token has more than ${MAX_PINS} pins`);
  const jwe = parseCompactJwe(compact);
  return { compact, jwe, pin: parsePin(jwe, budget) };
}

function parsePin(jwe: Jwe, budget: Budget): Pin {
  const clevis = objectMember(jwe.header, "clevis", "the token's header");
  const name = stringMember(clevis, "pin", "clevis in the token's header");
  const data = (): JsonObject => objectMember(clevis, name, "clevis in the token's header");
  switch (name) {
    case "tpm2":
      requireA256gcm(jwe, "dir");
      return { kind: "tpm2", data: data() };
    case "tang":
      requireA256gcm(jwe, "ECDH-ES");
      return parseTangPin(jwe.header, data());
    case "sss":
      requireA256gcm(jwe, "dir");
      return parseSssPin(data(), budget);
    case "null":
    case "test": // its name before clevis 19
      requireA256gcm(jwe, "dir");
      checkNullPin(data());
      return { kind: "null", data: data() };
    default:
      return { kind: "other", name };
  }
}

function parseSssPin(data: JsonObject, budget: Budget): SssPin {
  const levels = budget.levels + 1;
  if (levels > MAX_SSS_LEVELS) throw tooLarge(`the token has sss nested more than ${MAX_SSS_LEVELS} levels deep`);
  const threshold = member(data, "t");
  if (typeof threshold !== "number" || !Number.isSafeInteger(threshold) || threshold < 1) {
    throw malformed("the sss pin has a threshold t that is not a whole number above 0");
  }
  const prime = decodeBase64url(stringMember(data, "p", "the sss pin"), "p of the sss pin");
  if (prime.length !== SSS_NUMBER_BYTES) {
    throw malformed(`the sss pin has a p of ${prime.length} bytes instead of ${SSS_NUMBER_BYTES}`);
  }
  const value = toBigInt(prime);
  if ((value & 1n) === 0n || value === 1n) throw malformed("the sss pin has a p that is not an odd prime");
  const given = arrayMember(data, "jwe", "the sss pin");
  const shares: Share[] = [];
  for (const share of given.slice(0, MAX_SHARES)) shares.push(parseShare(share, { ...budget, levels }));
  return {
    kind: "sss",
    threshold,
    prime,
    shares,
    sharesLeftOut: Math.max(0, given.length - MAX_SHARES),
  };
}

function parseShare(share: unknown, budget: Budget): Share {
  if (typeof share !== "string") throw malformed("the sss pin has a share that is not a token");
  try {
    return { token: parseCompact(share, budget) };
  } catch (thrown) {
    const error = asLatchkeyError(thrown);
    if (error.code === "token/too-large") throw error; // the whole token is hostile, not one share damaged
    return { error };
  }
}

/** `k` is there and has its length; with `fail` at enrolment there is no jwk, and clevis means that to fail. */
function checkNullPin(data: JsonObject): void {
  using key = nullPinKey(data);
  if (key.length !== KEY_BYTES) {
    throw malformed(`the null pin has a key of ${key.length} bytes, and A256GCM needs ${KEY_BYTES}`);
  }
}

function compactFromJson(text: string): string {
  const json = parseJsonObject(new TextEncoder().encode(text), "the token");
  const inner = member(json, "jwe");
  return compactFromFlattened(isJsonObject(inner) ? inner : json);
}

function withoutTrailingSpace(text: string): string {
  let end = text.length;
  while (end > 0 && " \t\r\n".includes(text[end - 1] ?? "")) end -= 1;
  return text.slice(0, end);
}

function tooLarge(message: string): LatchkeyError {
  return new LatchkeyError("token/too-large", message);
}
