import type { LatchkeyError } from "../system/errors.ts";
import { SecretBytes } from "../system/secret-bytes.ts";
import { malformed } from "./malformed.ts";

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const NOT_IN_ALPHABET = 64;

const codeToSextet = new Uint8Array(256).fill(NOT_IN_ALPHABET);
const sextetToCode = new TextEncoder().encode(ALPHABET);
for (let sextet = 0; sextet < ALPHABET.length; sextet += 1) codeToSextet[ALPHABET.charCodeAt(sextet)] = sextet;

/**
 * Base64url without padding (RFC 4648 section 5, RFC 7515 section 2), strictly: no other alphabet, no white space, and no
 * bits left over in the last character, so that one value has one spelling. For public values only.
 */
export function decodeBase64url(text: string, what: string): Uint8Array<ArrayBuffer> {
  let bytes: Uint8Array<ArrayBuffer>;
  try {
    bytes = Uint8Array.fromBase64(text, { alphabet: "base64url" });
  } catch {
    throw whyNot(text, what);
  }
  if (encodeBase64url(bytes) !== text) throw whyNot(text, what); // it takes white space, padding and bits left over
  return bytes;
}

function whyNot(text: string, what: string): LatchkeyError {
  try {
    if (/^[A-Za-z0-9_-]*$/.test(text)) {
      decodedLength(text.length, what);
      checkLastCharacter(text.length, text.charCodeAt(text.length - 1), what);
    }
  } catch (reason) {
    return reason as LatchkeyError;
  }
  return notBase64url(what);
}

/** For public values only. */
export function encodeBase64url(bytes: Uint8Array): string {
  return bytes.toBase64({ alphabet: "base64url", omitPadding: true });
}

/** As decodeBase64url, from bytes to bytes: no string ever holds the secret. */
export function decodeSecretBase64url(text: Uint8Array, what: string): SecretBytes {
  const secret = SecretBytes.allocate(decodedLength(text.length, what));
  const { bytes } = secret;
  let written = 0;
  let buffered = 0;
  let bits = 0;
  let foreign = 0;
  for (let index = 0; index < text.length; index += 1) {
    const sextet = codeToSextet[text[index] ?? 0] ?? NOT_IN_ALPHABET;
    foreign |= sextet & NOT_IN_ALPHABET;
    buffered = ((buffered << 6) | sextet) & 0xfff;
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    bytes[written] = (buffered >> bits) & 0xff;
    written += 1;
  }
  try {
    if (foreign !== 0) throw notBase64url(what);
    checkLastCharacter(text.length, text[text.length - 1] ?? 0, what);
  } catch (thrown) {
    secret[Symbol.dispose]();
    throw thrown;
  }
  return secret;
}

export function encodeSecretBase64url(bytes: Uint8Array): SecretBytes {
  const text = SecretBytes.allocate(Math.ceil((bytes.length * 4) / 3));
  const codes = text.bytes;
  for (let index = 0; index < codes.length; index += 1) {
    const bit = index * 6;
    const at = bit >> 3;
    const pair = ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
    codes[index] = sextetToCode[(pair >> (10 - (bit & 7))) & 0x3f] ?? 0;
  }
  return text;
}

function decodedLength(characters: number, what: string): number {
  if (characters % 4 === 1) throw malformed(`${what} is cut short: ${characters} characters are no base64url`);
  return Math.floor((characters * 3) / 4);
}

function checkLastCharacter(characters: number, last: number, what: string): void {
  const unusedBits = [0, 0, 0b1111, 0b11][characters % 4] ?? 0;
  if (((codeToSextet[last] ?? 0) & unusedBits) !== 0) throw malformed(`${what} ends in bits that mean nothing`);
}

function notBase64url(what: string): LatchkeyError {
  return malformed(`${what} is not base64url`);
}
