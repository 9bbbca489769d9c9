import type { Curve } from "./algorithms.ts";

/** A key pair for one exchange. */
export interface EphemeralKeyPair {
  /** The public point's coordinates in full length. */
  readonly x: Uint8Array;
  readonly y: Uint8Array;
  /**
   * The x coordinate of private key times point, in full length. The caller wipes it.
   * @param point uncompressed, SEC 1 section 2.3.3; rejects when it is not on the curve
   */
  agree(point: Uint8Array<ArrayBuffer>): Promise<Uint8Array>;
}

/** Where nonces, salts and keys come from; another one only in tests that replay a recorded TPM. */
export interface Randomness {
  fill(bytes: Uint8Array<ArrayBuffer>): void;
  keyPair(curve: Curve): Promise<EphemeralKeyPair>;
}

/** The generators of the kernel and of Bun's crypto library, which keeps private keys to itself. */
export const machineRandomness: Randomness = {
  fill: (bytes) => void crypto.getRandomValues(bytes),
  async keyPair({ name: namedCurve, size }) {
    const algorithm = { name: "ECDH", namedCurve };
    const { publicKey, privateKey } = (await crypto.subtle.generateKey(algorithm, false, [
      "deriveBits",
    ])) as CryptoKeyPair;
    const own = new Uint8Array(await crypto.subtle.exportKey("raw", publicKey)); // uncompressed: 4, x, y
    return {
      x: own.subarray(1, 1 + size),
      y: own.subarray(1 + size),
      async agree(point) {
        const theirs = await crypto.subtle.importKey("raw", point, algorithm, false, []);
        return new Uint8Array(await crypto.subtle.deriveBits({ name: "ECDH", public: theirs }, privateKey, size * 8));
      },
    };
  },
};
