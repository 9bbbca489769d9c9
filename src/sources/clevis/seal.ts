import { generatePrimeSync, randomFillSync } from "node:crypto";
import { encryptA256gcm, KEY_BYTES } from "../../jose/a256gcm.ts";
import { encodeBase64url } from "../../jose/base64url.ts";
import { contentKey } from "../../jose/concat-kdf.ts";
import { ecPublicJwk, thumbprint } from "../../jose/ec-jwk.ts";
import { EphemeralKey } from "../../jose/ephemeral-key.ts";
import type { JsonObject } from "../../jose/json.ts";
import { flattenedFromCompact } from "../../jose/jwe.ts";
import { LatchkeyError } from "../../system/errors.ts";
import { SecretBytes } from "../../system/secret-bytes.ts";
import { splitRandomSecret } from "./shamir.ts";
import type { Advertisement } from "./tang-advertisement.ts";
import { tangUrl } from "./tang-pin.ts";
import { MAX_SHARES, SSS_NUMBER_BYTES } from "./token.ts";

/** Makes a compact token that holds the secret. The secret stays the caller's. */
export type Sealer = (secret: SecretBytes, signal: AbortSignal) => Promise<string>;

/**
 * A token whose content key is handed over directly: pins tpm2 and sss.
 * @param data the object `clevis.PIN` of the header, which holds the key in the pin's own way
 */
export function sealDirect(pin: "tpm2" | "sss", data: object, key: SecretBytes, secret: SecretBytes): string {
  return encryptA256gcm(key, { alg: "dir", clevis: { pin, [pin]: data }, enc: "A256GCM" }, secret);
}

/**
 * Binds to a TPM: `sealKey` seals the content key and gives `clevis.tpm2`, as `sealTpm2Key` does.
 */
export function tpm2Sealer(sealKey: (key: SecretBytes, signal: AbortSignal) => Promise<object>): Sealer {
  return async (secret, signal) => {
    using key = SecretBytes.allocate(KEY_BYTES);
    randomFillSync(key.bytes);
    return sealDirect("tpm2", await sealKey(key, signal), key, secret);
  };
}

/** Binds to a Tang server, as clevis-encrypt-tang does: needs no word from the server beyond its advertisement. */
export function tangSealer(url: string, { payload, exchangeKey }: Advertisement): Sealer {
  return async (secret) => {
    using ephemeral = new EphemeralKey(exchangeKey.curve);
    const header: JsonObject = {
      alg: "ECDH-ES",
      clevis: { pin: "tang", tang: { adv: payload, url: tangUrl(url) } },
      enc: "A256GCM",
      epk: ecPublicJwk(ephemeral.publicKey),
      kid: thumbprint(exchangeKey),
    };
    using agreed = ephemeral.agree(exchangeKey);
    using key = contentKey(agreed, header);
    return encryptA256gcm(key, header, secret);
  };
}

/** Splits over several pins, of which any `threshold` open it (clevis-encrypt-sss). The shares keep the order given. */
export function sssSealer(threshold: number, sealers: readonly Sealer[]): Sealer {
  if (!Number.isSafeInteger(threshold) || threshold < 1 || threshold > sealers.length) {
    throw invalid(`a threshold is a whole number from 1 to the number of shares (${sealers.length}), not ${threshold}`);
  }
  if (sealers.length > MAX_SHARES) throw invalid(`a token has at most ${MAX_SHARES} shares, not ${sealers.length}`);
  return async (secret, signal) => {
    // clevis takes a safe prime, which is slow to find; nothing in Shamir's scheme or in clevis' decryption asks for one.
    const prime = new Uint8Array(generatePrimeSync(SSS_NUMBER_BYTES * 8));
    using split = splitRandomSecret(prime, threshold, sealers.length);
    const jwe: string[] = [];
    for (const [index, share] of split.shares.entries()) {
      const sealer = sealers[index];
      if (sealer) jwe.push(await sealer(share, signal));
    }
    return sealDirect("sss", { jwe, p: encodeBase64url(prime), t: threshold }, split.secret, secret);
  };
}

/** The token object that `clevis luks bind` puts into a LUKS2 header, for `cryptsetup token import`. */
export function luks2TokenObject(compact: string, keySlot: number): JsonObject {
  return { type: "clevis", keyslots: [String(keySlot)], jwe: flattenedFromCompact(compact) };
}

function invalid(message: string): LatchkeyError {
  return new LatchkeyError("config/invalid-value", message);
}
