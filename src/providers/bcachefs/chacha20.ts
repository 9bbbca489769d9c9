import { SecretBytes } from "../../system/secret-bytes.ts";

/** "expand 32-byte k" as four little-endian words. */
const CONSTANTS = [0x61707865, 0x3320646e, 0x79622d32, 0x6b206574] as const;
const BLOCK_WORDS = 16;
const CHACHA20_BLOCK_BYTES = 64;

/**
 * The first block of the ChaCha20 key stream in its original form: 64-bit counter (0 here) and 64-bit nonce, as
 * bch2_chacha20 uses it (fs/data/checksum.c). With the nonce `0000 ‖ nonce` it equals RFC 8439.
 *
 * Our own, since what is wrapped fits in one block and a library's would leave the key stream, and with it the master
 * key, in a buffer of the JavaScript heap: state and result live in secret pages here.
 * @param key 32 bytes
 * @param nonce 8 bytes
 */
export function chacha20FirstBlock(key: SecretBytes, nonce: Uint8Array): SecretBytes {
  using scratch = SecretBytes.allocate(CHACHA20_BLOCK_BYTES);
  const stream = SecretBytes.allocate(CHACHA20_BLOCK_BYTES);
  const start = new DataView(scratch.bytes.buffer, scratch.bytes.byteOffset, CHACHA20_BLOCK_BYTES);
  for (const [index, word] of CONSTANTS.entries()) start.setUint32(4 * index, word, true);
  scratch.bytes.set(key.bytes.subarray(0, 32), 16);
  scratch.bytes.set(nonce.subarray(0, 8), 56); // words 12 and 13, the block counter, stay zero

  stream.bytes.set(scratch.bytes);
  const state = new Int32Array(stream.bytes.buffer, stream.bytes.byteOffset, BLOCK_WORDS);
  for (let doubleRound = 0; doubleRound < 10; doubleRound++) {
    quarterRound(state, 0, 4, 8, 12);
    quarterRound(state, 1, 5, 9, 13);
    quarterRound(state, 2, 6, 10, 14);
    quarterRound(state, 3, 7, 11, 15);
    quarterRound(state, 0, 5, 10, 15);
    quarterRound(state, 1, 6, 11, 12);
    quarterRound(state, 2, 7, 8, 13);
    quarterRound(state, 3, 4, 9, 14);
  }
  for (let index = 0; index < BLOCK_WORDS; index++) {
    state[index] = (state[index] ?? 0) + start.getInt32(4 * index, true);
  }
  return stream;
}

/** RFC 8439, section 2.1. Typed arrays keep the words little-endian: Bun runs on no other processor. */
function quarterRound(state: Int32Array, a: number, b: number, c: number, d: number): void {
  mix(state, a, b, d, 16);
  mix(state, c, d, b, 12);
  mix(state, a, b, d, 8);
  mix(state, c, d, b, 7);
}

/** sum += addend; mixed = rotate(mixed ^ sum, bits) */
function mix(state: Int32Array, sum: number, addend: number, mixed: number, bits: number): void {
  state[sum] = (state[sum] ?? 0) + (state[addend] ?? 0);
  const word = (state[mixed] ?? 0) ^ (state[sum] ?? 0);
  state[mixed] = (word << bits) | (word >>> (32 - bits));
}
