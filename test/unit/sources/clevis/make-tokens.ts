import { randomFillSync } from "node:crypto";
import { encryptA256gcm } from "../../../../src/jose/a256gcm.ts";
import { encodeBase64url } from "../../../../src/jose/base64url.ts";
import type { JsonObject } from "../../../../src/jose/json.ts";
import type { Sealer } from "../../../../src/sources/clevis/seal.ts";
import { LatchkeyError } from "../../../../src/system/errors.ts";
import { SecretBytes } from "../../../../src/system/secret-bytes.ts";

export const secretOf = (text: string): SecretBytes => SecretBytes.take(Buffer.from(text));

export const textOf = (secret: SecretBytes): string => {
  using scoped = secret;
  return Buffer.from(scoped.bytes).toString("latin1");
};

/** As `clevis encrypt null` makes them. */
export const nullSealer: Sealer = async (secret) => nullToken(secret);

export function nullToken(secret: SecretBytes): string {
  using key = SecretBytes.allocate(32);
  randomFillSync(key.bytes);
  const jwk = { alg: "A256GCM", k: encodeBase64url(key.bytes), key_ops: ["encrypt", "decrypt"], kty: "oct" };
  return encryptA256gcm(key, { alg: "dir", clevis: { null: { jwk }, pin: "null" }, enc: "A256GCM" }, secret);
}

/** Any header with four more parts of the right size: parses, and opens to nothing. */
export function tokenWithHeader(header: JsonObject): string {
  const encoded = encodeBase64url(new TextEncoder().encode(JSON.stringify(header)));
  return `${encoded}..${"A".repeat(16)}.${"A".repeat(8)}.${"A".repeat(21)}A`;
}

/** The error something ends in: ours, or the test fails. */
export async function errorOf(work: () => unknown): Promise<LatchkeyError> {
  try {
    await work();
  } catch (thrown) {
    if (thrown instanceof LatchkeyError) return thrown;
    throw thrown;
  }
  throw new Error("nothing was thrown");
}
