import { createCipheriv } from "node:crypto";
import { SecretBytes } from "../system/secret-bytes.ts";

const BLOCK = 16;

/**
 * AES-128 in CFB mode with full blocks (TPM 2.0 Part 1 section 21, ISO/IEC 10116), built from single blocks: the library
 * gets only ciphertext to encrypt, so no buffer of its own ever holds the plain text.
 * @param key 16 octets
 * @param iv 16 octets
 */
export function cfbDecrypt(key: Uint8Array, iv: Uint8Array, ciphertext: Uint8Array): SecretBytes {
  const plain = SecretBytes.allocate(ciphertext.length);
  const input = new Uint8Array(Math.ceil(ciphertext.length / BLOCK) * BLOCK);
  input.set(iv.subarray(0, input.length));
  input.set(ciphertext.subarray(0, Math.max(0, input.length - BLOCK)), Math.min(BLOCK, input.length));
  const stream = blockCipher(key).update(input);
  const { bytes } = plain;
  for (let index = 0; index < bytes.length; index++) bytes[index] = (ciphertext[index] ?? 0) ^ (stream[index] ?? 0);
  stream.fill(0);
  return plain;
}

/** The other direction of {@link cfbDecrypt}. */
export function cfbEncrypt(key: Uint8Array, iv: Uint8Array, plain: SecretBytes): Uint8Array {
  const { bytes } = plain;
  const ciphertext = new Uint8Array(bytes.length);
  const cipher = blockCipher(key);
  let previous = iv;
  for (let offset = 0; offset < bytes.length; offset += BLOCK) {
    const stream = cipher.update(previous);
    for (let index = offset; index < Math.min(offset + BLOCK, bytes.length); index++) {
      ciphertext[index] = (bytes[index] ?? 0) ^ (stream[index - offset] ?? 0);
    }
    stream.fill(0);
    previous = ciphertext.subarray(offset, offset + BLOCK);
  }
  return ciphertext;
}

function blockCipher(key: Uint8Array) {
  return createCipheriv("aes-128-ecb", key, null).setAutoPadding(false);
}
