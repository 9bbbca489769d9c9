import type { ECDH } from "node:crypto";
import { SecretBytes } from "../system/secret-bytes.ts";
import type { Curve } from "./curves.ts";
import { type EcPublicKey, uncompressedPoint } from "./ec-jwk.ts";
import { overwriteFreedMemory } from "./freed-memory.ts";

/** A key pair for one exchange. The private half lives inside the crypto library only, and is overwritten at the end of the scope. */
export class EphemeralKey implements Disposable {
  readonly publicKey: EcPublicKey;
  readonly #pair: ECDH;

  constructor(curve: Curve) {
    // Loaded here: it takes Bun half of what it takes to start, and a token for the TPM does without.
    const { createECDH } = require("node:crypto") as typeof import("node:crypto");
    this.#pair = createECDH(curve.nodeName);
    const point = this.#pair.generateKeys();
    const length = curve.coordinateBytes;
    this.publicKey = { curve, x: point.subarray(1, 1 + length), y: point.subarray(1 + length) };
  }

  /** The x coordinate of private times public, in full length (RFC 7518 section 4.6, SEC 1 section 3.3.1). */
  agree(theirs: EcPublicKey): SecretBytes {
    const agreed = SecretBytes.take(this.#pair.computeSecret(uncompressedPoint(theirs)));
    overwriteFreedMemory(agreed.length);
    return agreed;
  }

  /** Puts another private key in its place: BoringSSL wipes what it frees, and the collector might be long in coming. */
  [Symbol.dispose](): void {
    const one = new Uint8Array(this.publicKey.curve.coordinateBytes);
    one[one.length - 1] = 1;
    this.#pair.setPrivateKey(one);
  }
}
