import { SecretBytes } from "../system/secret-bytes.ts";
import { decodeSecretBase64url, encodeSecretBase64url } from "./base64url.ts";
import { malformed } from "./malformed.ts";

/** A symmetric key as JWK has about 110 bytes (a TPM seals at most 128); more is no key. */
const MAX_JWK_BYTES = 4096;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const ascii = (text: string): Uint8Array => new TextEncoder().encode(text);
const isOpening = (byte: number): boolean => byte === 0x7b || byte === 0x5b; // { [
const isClosing = (byte: number): boolean => byte === 0x7d || byte === 0x5d; // } ]
const isWhiteSpace = (byte: number): boolean => byte === 0x20 || byte === 0x09 || byte === 0x0d || byte === 0x0a;

const WHAT = "the unsealed key";

/**
 * The bytes of `k` of a symmetric JWK (RFC 7518 section 6.4), read without making a string: JSON.parse would leave copies of
 * the key in the heap. Needs `kty` "oct"; other members are stepped over.
 */
export function keyFromOctJwk(jwk: SecretBytes): SecretBytes {
  const text = jwk.bytes;
  if (text.length > MAX_JWK_BYTES) throw malformed(`${WHAT} has ${text.length} bytes, too many for a JWK`);
  const scan = new Scanner(text);
  let key: Uint8Array | undefined;
  let isOct = false;
  scan.expect("{");
  while (!scan.accept("}")) {
    const name = scan.string();
    scan.expect(":");
    if (equals(name, "k")) key = scan.string();
    else if (equals(name, "kty")) isOct = equals(scan.string(), "oct");
    else scan.skipValue();
    if (!scan.accept(",")) {
      scan.expect("}");
      break;
    }
  }
  scan.expectEnd();
  if (!isOct || key === undefined) throw malformed(`${WHAT} is no symmetric JWK: kty "oct" or k is missing`);
  return decodeSecretBase64url(key, `k of ${WHAT}`);
}

/** The JWK text that clevis seals: what `jose jwk gen -i '{"alg":"A256GCM"}'` prints, without the line feed. */
export function octJwkText(key: SecretBytes): SecretBytes {
  using encoded = encodeSecretBase64url(key.bytes);
  const before = ascii('{"alg":"A256GCM","k":"');
  const after = ascii('","key_ops":["encrypt","decrypt"],"kty":"oct"}');
  const text = SecretBytes.allocate(before.length + encoded.length + after.length);
  text.bytes.set(before);
  text.bytes.set(encoded.bytes, before.length);
  text.bytes.set(after, before.length + encoded.length);
  return text;
}

function equals(bytes: Uint8Array, text: string): boolean {
  if (bytes.length !== text.length) return false;
  for (let index = 0; index < bytes.length; index += 1) if (bytes[index] !== text.charCodeAt(index)) return false;
  return true;
}

/** Steps through JSON text byte by byte. It gives views of the text, never copies. */
class Scanner {
  readonly #text: Uint8Array;
  #at = 0;

  constructor(text: Uint8Array) {
    this.#text = text;
  }

  accept(character: string): boolean {
    this.#skipWhiteSpace();
    if (this.#text[this.#at] !== character.charCodeAt(0)) return false;
    this.#at += 1;
    return true;
  }

  expect(character: string): void {
    if (!this.accept(character)) throw malformed(`${WHAT} is not a JWK`);
  }

  expectEnd(): void {
    this.#skipWhiteSpace(); // `jose jwk gen` ends its line
    if (this.#at !== this.#text.length) throw malformed(`${WHAT} has something after the JWK`);
  }

  /** No name or value in such a key needs an escape. */
  string(): Uint8Array {
    this.expect('"');
    const start = this.#at;
    const end = this.#text.indexOf(QUOTE, start);
    if (end < 0) throw malformed(`${WHAT} is not a JWK`);
    const content = this.#text.subarray(start, end);
    if (content.includes(BACKSLASH)) throw malformed(`${WHAT} is not a JWK`);
    this.#at = end + 1;
    return content;
  }

  /** A string, a scalar, or a list or object with all that is in it. */
  skipValue(): void {
    let depth = 0;
    for (;;) {
      this.#skipWhiteSpace();
      const byte = this.#text[this.#at];
      if (byte === undefined) throw malformed(`${WHAT} is not a JWK`);
      const ends = depth === 0 && (byte === COMMA || isClosing(byte));
      if (ends) return;
      if (byte === QUOTE) {
        this.string();
        continue;
      }
      if (isOpening(byte)) depth += 1;
      else if (isClosing(byte)) depth -= 1;
      this.#at += 1;
    }
  }

  #skipWhiteSpace(): void {
    while (isWhiteSpace(this.#text[this.#at] ?? 0)) this.#at += 1;
  }
}
