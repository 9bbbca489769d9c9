import { Aes } from "../system/aes.ts";
import { LatchkeyError } from "../system/errors.ts";
import { SecretBytes } from "../system/secret-bytes.ts";
import { encodeBase64url } from "./base64url.ts";
import { Ghash } from "./ghash.ts";
import { type JsonObject, sortedJson } from "./json.ts";
import type { Jwe } from "./jwe.ts";
import { malformed } from "./malformed.ts";

export const KEY_BYTES = 32;

const IV_BYTES = 12;
const BLOCK_BYTES = 16;

/**
 * The plaintext of a JWE with `enc` A256GCM (RFC 7518 section 5.3, iv and tag of full length). The tag is checked first, so
 * what fails is never decrypted. The key stays the caller's.
 */
export function decryptA256gcm(key: SecretBytes, jwe: Jwe): SecretBytes {
  // The encoded header was decoded already, so it is base64url, and its octets in UTF-8 are those in ASCII.
  return openA256gcm(key, jwe, new TextEncoder().encode(jwe.encodedHeader));
}

/** The same with any authenticated octets. */
export function openA256gcm(
  key: SecretBytes,
  { iv, ciphertext, tag }: Pick<Jwe, "iv" | "ciphertext" | "tag">,
  authenticated: Uint8Array,
): SecretBytes {
  using gcm = new Gcm(key, iv);
  const expected = gcm.tag(authenticated, ciphertext);
  if (tag.length !== expected.length || !crypto.timingSafeEqual(tag, expected)) {
    throw new LatchkeyError("token/tag-mismatch", "the token's tag does not hold: it was altered or damaged");
  }
  const plaintext = SecretBytes.allocate(ciphertext.length);
  gcm.crypt(ciphertext, plaintext.bytes);
  return plaintext;
}

/** A compact JWE with this header, whose content key is agreed on outside: its second part is empty. */
export function encryptA256gcm(key: SecretBytes, header: JsonObject, plaintext: SecretBytes): string {
  const encodedHeader = encodeBase64url(new TextEncoder().encode(sortedJson(header)));
  const iv = crypto.getRandomValues(new Uint8Array(IV_BYTES));
  using gcm = new Gcm(key, iv);
  const ciphertext = new Uint8Array(plaintext.length);
  gcm.crypt(plaintext.bytes, ciphertext);
  const tag = gcm.tag(new TextEncoder().encode(encodedHeader), ciphertext);
  return [encodedHeader, "", encodeBase64url(iv), encodeBase64url(ciphertext), encodeBase64url(tag)].join(".");
}

/** AES-256-GCM for one key and one iv of 96 bits (NIST SP 800-38D section 7). */
class Gcm implements Disposable {
  readonly #aes: Aes;
  readonly #ghash: Ghash;
  readonly #pages: SecretBytes;
  /** The counter block, encrypted in place: key stream. */
  readonly #block: Int32Array;
  readonly #iv: DataView;

  constructor(key: SecretBytes, iv: Uint8Array) {
    if (key.length !== KEY_BYTES) {
      throw malformed(`the content key has ${key.length} bytes, and A256GCM needs ${KEY_BYTES}`);
    }
    this.#aes = new Aes(key.bytes);
    this.#pages = SecretBytes.allocate(BLOCK_BYTES);
    const { buffer, byteOffset } = this.#pages.bytes;
    this.#block = new Int32Array(buffer, byteOffset, BLOCK_BYTES / Int32Array.BYTES_PER_ELEMENT);
    this.#aes.encrypt(this.#block); // of zeros: H
    this.#ghash = new Ghash(this.#block);
    this.#iv = new DataView(iv.buffer, iv.byteOffset, IV_BYTES);
  }

  /** For one message only: the hash goes on where it was. */
  tag(authenticated: Uint8Array, ciphertext: Uint8Array): Uint8Array {
    this.#ghash.update(authenticated);
    this.#ghash.update(ciphertext);
    const hash = this.#ghash.finish(authenticated.length, ciphertext.length);
    this.#keyStream(1);
    const tag = new DataView(new ArrayBuffer(BLOCK_BYTES));
    for (let word = 0; word < hash.length; word += 1) {
      tag.setInt32(4 * word, (hash[word] ?? 0) ^ (this.#block[word] ?? 0));
    }
    return new Uint8Array(tag.buffer);
  }

  /** Counter mode: the same both ways. */
  crypt(from: Uint8Array, to: Uint8Array): void {
    for (let start = 0; start < from.length; start += BLOCK_BYTES) {
      this.#keyStream(2 + start / BLOCK_BYTES);
      const end = Math.min(BLOCK_BYTES, from.length - start);
      for (let index = 0; index < end; index += 1) {
        const stream = (this.#block[index >> 2] ?? 0) >>> (24 - 8 * (index & 3));
        to[start + index] = (from[start + index] ?? 0) ^ stream;
      }
    }
  }

  [Symbol.dispose](): void {
    this.#aes[Symbol.dispose]();
    this.#ghash[Symbol.dispose]();
    this.#pages[Symbol.dispose]();
  }

  #keyStream(counter: number): void {
    for (let word = 0; word < 3; word += 1) this.#block[word] = this.#iv.getInt32(4 * word);
    this.#block[3] = counter;
    this.#aes.encrypt(this.#block);
  }
}
