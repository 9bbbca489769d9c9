import { type EcPublicKey, keyOperations, parseEcPublicKey, thumbprint } from "../../jose/ec-jwk.ts";
import { arrayMember, isJsonObject, type JsonObject, parseJsonObject } from "../../jose/json.ts";
import { isSignedBy, parseJws } from "../../jose/jws.ts";
import { asLatchkeyError, LatchkeyError } from "../../system/errors.ts";
import { type HttpExchange, HttpFailure } from "./http.ts";
import { tangUrl } from "./tang-pin.ts";
import { statusError } from "./tang-status.ts";

/** Milliseconds for one request: a person waits. */
const ADVERTISEMENT_LIMIT = 10_000;
/** It goes into the token's header whole, and a LUKS2 header has room for about 12 KiB of tokens. */
const MAX_ADVERTISEMENT_BYTES = 32 * 1024;
const MAX_KEYS = 16;

const WHAT = "the advertisement";

/** What a Tang server says its keys are, signed by every one of its signing keys. Whether to believe it is another question. */
export interface Advertisement {
  /** `{"keys":[…]}` as it was signed: becomes `adv` in the token. */
  readonly payload: JsonObject;
  readonly signingKeys: readonly EcPublicKey[];
  /** The key that tokens are bound to: the first one that is for exchange. */
  readonly exchangeKey: EcPublicKey;
}

/** Whom to believe: a signing key known by its thumbprint, a person who compares, or nobody to ask (`-y`). */
export type TangTrust =
  | { readonly by: "thumbprint"; readonly thumbprint: string }
  | { readonly by: "confirmation"; confirm(thumbprints: readonly string[]): Promise<boolean> }
  | { readonly by: "nothing" };

/** @param wanted a thumbprint: the server then signs with that key too, also when it is rotated out of the advertisement */
export async function fetchAdvertisement(
  url: string,
  http: HttpExchange,
  signal: AbortSignal,
  wanted?: string,
): Promise<Advertisement> {
  const base = tangUrl(url);
  const server = `tang server ${base}`;
  if (wanted !== undefined) requireThumbprint(wanted);
  try {
    const { status, body } = await http({
      url: wanted === undefined ? `${base}/adv` : `${base}/adv/${wanted}`,
      method: "GET",
      timeLimit: ADVERTISEMENT_LIMIT,
      sizeLimit: MAX_ADVERTISEMENT_BYTES,
      signal,
    });
    if (status === 200) return parseAdvertisement(body, server);
    if (status !== 404) throw statusError(server, status);
    if (wanted === undefined) throw new LatchkeyError("tang/http-status", `${server}: it advertises no keys (404)`);
    throw new LatchkeyError("tang/untrusted", `${server}: it has no signing key with the thumbprint ${wanted} (404)`, {
      hint: "run tang-show-keys on the server and compare",
    });
  } catch (thrown) {
    if (!(thrown instanceof HttpFailure)) throw thrown;
    throw new LatchkeyError("tang/unreachable", `${server}: ${thrown.message}`, { cause: thrown });
  }
}

/** @param source where it comes from, for messages: `tang server http://…`, a file */
export function parseAdvertisement(bytes: Uint8Array, source: string): Advertisement {
  try {
    return readAdvertisement(bytes);
  } catch (thrown) {
    throw new LatchkeyError("tang/bad-advertisement", `${source}: ${asLatchkeyError(thrown).message}`, {
      cause: thrown,
    });
  }
}

function readAdvertisement(bytes: Uint8Array): Advertisement {
  const fail = (text: string): LatchkeyError => new LatchkeyError("tang/bad-advertisement", `${WHAT} ${text}`);
  if (bytes.length > MAX_ADVERTISEMENT_BYTES) throw fail(`is longer than ${MAX_ADVERTISEMENT_BYTES} bytes`);
  const jws = parseJws(parseJsonObject(bytes, WHAT), WHAT);
  const payload = parseJsonObject(jws.payload, `the payload of ${WHAT}`);
  const keys = arrayMember(payload, "keys", WHAT);
  if (keys.length > MAX_KEYS) throw fail(`has ${keys.length} keys, more than ${MAX_KEYS}`);
  const keysFor = (operation: string): EcPublicKey[] =>
    keys
      .filter((json) => isJsonObject(json) && keyOperations(json).includes(operation))
      .map((json) => parseEcPublicKey(json, `a key of ${WHAT}`));
  const signingKeys = keysFor("verify");
  const [exchangeKey] = keysFor("deriveKey");
  if (signingKeys.length === 0) throw fail("has no signing key");
  if (exchangeKey === undefined) throw fail("has no exchange key");
  // `jose jws ver -a`: all of them, so that a thief of one key cannot slip in others.
  if (!signingKeys.every((key) => isSignedBy(jws, key))) throw fail("is not signed by all of its signing keys");
  return { payload, signingKeys, exchangeKey };
}

/** @throws LatchkeyError `tang/untrusted` unless one of the signing keys is the trusted one */
export async function requireTrust(advertisement: Advertisement, trust: TangTrust, server: string): Promise<void> {
  const { signingKeys } = advertisement;
  if (trust.by === "nothing") return;
  if (trust.by === "thumbprint") {
    requireThumbprint(trust.thumbprint);
    const isOneOf = (hash: "sha256" | "sha1"): boolean =>
      signingKeys.some((key) => thumbprint(key, hash) === trust.thumbprint);
    if (isOneOf("sha256") || isOneOf("sha1")) return;
    throw new LatchkeyError(
      "tang/untrusted",
      `${server}: its keys are not signed by the key with the thumbprint ${trust.thumbprint}`,
      { hint: `it has ${signingKeys.map((key) => thumbprint(key)).join(", ")}; run tang-show-keys there and compare` },
    );
  }
  if (await trust.confirm(signingKeys.map((key) => thumbprint(key)))) return;
  throw new LatchkeyError("tang/untrusted", `${server}: its keys were not confirmed`);
}

/** SHA-256 (43 characters) or SHA-1 (27): it goes into a path. */
function requireThumbprint(text: string): void {
  if (/^([A-Za-z0-9_-]{43}|[A-Za-z0-9_-]{27})$/.test(text)) return;
  throw new LatchkeyError("tang/untrusted", "the given thumbprint is none: it has 43 characters of base64url", {
    hint: "run tang-show-keys on the server",
  });
}
