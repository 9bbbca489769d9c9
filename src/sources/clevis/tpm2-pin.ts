import { decodeBase64url, encodeBase64url } from "../../jose/base64url.ts";
import { type JsonObject, member, stringMember } from "../../jose/json.ts";
import { malformed, quote } from "../../jose/malformed.ts";
import type { ErrorCode } from "../../system/error-table.ts";
import { LatchkeyError } from "../../system/errors.ts";
import { hashByName, nameHash } from "../../tpm2/algorithms.ts";
import { PCR_COUNT, type PcrSelection, pcrSelection } from "../../tpm2/pcr-selection.ts";
import { primaryTemplate } from "../../tpm2/primary.ts";
import { parseSealedPublic } from "../../tpm2/public-area.ts";
import type { SealedParts } from "../../tpm2/seal.ts";
import type { SealedObject } from "../../tpm2/sealed-object.ts";
import { WireReader } from "../../tpm2/wire.ts";

const WHAT = "the tpm2 pin";

/** A sealed key of clevis has about 50 and 240 bytes; a command with both must fit the TPM's buffer of 4096. */
const MAX_PART_CHARACTERS = 2048;
/** `sha256`, `ecc:aes256cfb`: algorithm strings are short. */
const MAX_NAME_CHARACTERS = 64;
/** All 24 PCRs with a comma and some spaces each. */
const MAX_TEXT_CHARACTERS = 128;

/** `clevis.tpm2` of a token's header, as clevis-encrypt-tpm2 writes it. The members with PCRs are there with a policy only. */
export interface Tpm2PinHeader {
  readonly hash: string;
  readonly jwk_priv: string;
  readonly jwk_pub: string;
  readonly key: string;
  readonly pcr_bank?: string;
  readonly pcr_ids?: string;
}

/** The same, understood. */
export interface Tpm2Pin {
  readonly key: string;
  readonly sealed: SealedObject;
}

/**
 * Understands and bounds the header of a tpm2 token. Everything a TPM would be sent is checked here.
 * @param header the object `clevis.tpm2`
 * @throws LatchkeyError token/malformed; token/unsupported for algorithms that an installed clevis may know
 */
export function parseTpm2Pin(header: JsonObject): Tpm2Pin {
  const hash = nameHash(shortString(header, "hash"));
  const key = shortString(header, "key");
  const primary = primaryTemplate(key, hash);
  const publicArea = decodedPart(header, "jwk_pub");
  const privateArea = decodedPart(header, "jwk_priv");
  const inner = new WireReader(privateArea, "the token's jwk_priv", "token/malformed");
  if (inner.sized().length === 0) throw inner.fail("it is empty");
  inner.end();
  const object = parseSealedPublic(publicArea, hash);
  const selection = readSelection(header);
  if (selection && object.authPolicy.length === 0)
    throw malformed(`${WHAT} names PCRs, and what it sealed has no policy`);
  if (!selection && !object.userWithAuth)
    throw malformed(`${WHAT} names no PCRs, and what it sealed opens by policy only`);
  return { key, sealed: { primary, hash, publicArea, privateArea, public: object, selection } };
}

/** The header of a new token. @param pcrIds in the order they were asked for, as clevis keeps it */
export function tpm2PinHeader(
  key: string,
  hash: string,
  parts: SealedParts,
  selection: PcrSelection | undefined,
): Tpm2PinHeader {
  return {
    hash,
    jwk_priv: encodeBase64url(parts.privateArea),
    jwk_pub: encodeBase64url(parts.publicArea),
    key,
    ...(selection ? { pcr_bank: selection.bank.name, pcr_ids: selection.pcrs.join(",") } : {}),
  };
}

/**
 * PCR numbers as people and clevis write them: `7`, `7, 0, 4`, `all`, or a list of such strings or of numbers, as clevis.go
 * writes it. None is an empty list, which means no policy.
 * @throws LatchkeyError with `code`
 */
export function parsePcrIds(value: unknown, code: ErrorCode): readonly number[] {
  const fail = (text: string): LatchkeyError =>
    new LatchkeyError(code, `PCRs are numbers from 0 to ${PCR_COUNT - 1} with commas between, not ${quote(text)}`);
  if (Array.isArray(value)) {
    if (value.length > PCR_COUNT) throw fail(`${value.length} of them`);
    return value.map((item: unknown) => {
      if (typeof item === "number" || (typeof item === "string" && item.trim() !== ""))
        return pcrNumber(String(item), fail);
      throw fail(typeof item);
    });
  }
  if (typeof value !== "string") throw fail(typeof value);
  if (value.length > MAX_TEXT_CHARACTERS) throw fail(value);
  let text = "";
  for (const character of value) text += character.trim();
  if (text === "") return [];
  if (text === "all") return Array.from({ length: PCR_COUNT }, (_, pcr) => pcr); // a word of tpm2-tools
  const pcrs: number[] = [];
  for (const item of text.split(",")) pcrs.push(pcrNumber(item, fail));
  return pcrs;
}

function pcrNumber(text: string, fail: (text: string) => LatchkeyError): number {
  const digits = text.trim();
  const isShort = digits.length === 1 || digits.length === 2;
  const isNumber = isShort && [...digits].every((digit) => digit >= "0" && digit <= "9");
  if (!isNumber || Number(digits) >= PCR_COUNT) throw fail(text);
  return Number(digits);
}

function readSelection(header: JsonObject): PcrSelection | undefined {
  const ids = member(header, "pcr_ids");
  const pcrs = ids === undefined ? [] : parsePcrIds(ids, "token/malformed");
  // An empty selection must not reach PolicyPCR: it would change the digest.
  if (pcrs.length === 0) return undefined;
  // clevis always writes the bank next to the PCRs; guessing one would only hide that somebody altered the token.
  return pcrSelection(hashByName(shortString(header, "pcr_bank"), "the PCR bank"), pcrs, "token/malformed");
}

function shortString(header: JsonObject, name: string): string {
  const text = stringMember(header, name, WHAT);
  if (text.length > MAX_NAME_CHARACTERS) throw malformed(`${WHAT}: ${name} is too long to be an algorithm`);
  return text;
}

function decodedPart(header: JsonObject, name: string): Uint8Array {
  const text = stringMember(header, name, WHAT);
  if (text.length > MAX_PART_CHARACTERS) throw malformed(`${WHAT}: ${name} has ${text.length} characters, too many`);
  return decodeBase64url(text, `${name} of ${WHAT}`);
}
