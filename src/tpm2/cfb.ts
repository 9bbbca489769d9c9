import { Aes } from "../system/aes.ts";
import { SecretBytes } from "../system/secret-bytes.ts";

const BLOCK_BYTES = 16;
const WORD_BYTES = Int32Array.BYTES_PER_ELEMENT;

/**
 * AES-128 in CFB mode with full blocks (TPM 2.0 Part 1 section 21, ISO/IEC 10116).
 * @param key 16 octets
 * @param iv 16 octets
 */
export function cfbDecrypt(key: Uint8Array, iv: Uint8Array, ciphertext: Uint8Array): SecretBytes {
  const plain = SecretBytes.allocate(ciphertext.length);
  crypt(key, iv, ciphertext, plain.bytes, ciphertext);
  return plain;
}

/** The other direction of {@link cfbDecrypt}. */
export function cfbEncrypt(key: Uint8Array, iv: Uint8Array, plain: SecretBytes): Uint8Array {
  const ciphertext = new Uint8Array(plain.length);
  crypt(key, iv, plain.bytes, ciphertext, ciphertext);
  return ciphertext;
}

/** @param ciphertext the one of both that is: each block of the key stream comes from the block before */
function crypt(key: Uint8Array, iv: Uint8Array, from: Uint8Array, to: Uint8Array, ciphertext: Uint8Array): void {
  using aes = new Aes(key);
  using pages = SecretBytes.allocate(BLOCK_BYTES);
  const stream = new Int32Array(pages.bytes.buffer, pages.bytes.byteOffset, BLOCK_BYTES / WORD_BYTES);
  let previous = iv;
  for (let start = 0; start < from.length; start += BLOCK_BYTES) {
    const view = new DataView(previous.buffer, previous.byteOffset, BLOCK_BYTES);
    for (let word = 0; word < stream.length; word += 1) stream[word] = view.getInt32(WORD_BYTES * word);
    aes.encrypt(stream);
    const end = Math.min(BLOCK_BYTES, from.length - start);
    for (let index = 0; index < end; index += 1) {
      const octet = (stream[index >> 2] ?? 0) >>> (24 - 8 * (index & 3));
      to[start + index] = (from[start + index] ?? 0) ^ octet;
    }
    previous = ciphertext.subarray(start, start + BLOCK_BYTES);
  }
}
