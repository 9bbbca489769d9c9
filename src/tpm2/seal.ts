import { LatchkeyError } from "../system/errors.ts";
import { SecretBytes } from "../system/secret-bytes.ts";
import type { NameHash } from "./algorithms.ts";
import { answerReader, commands } from "./commands.ts";
import type { PrimaryTemplate } from "./primary.ts";
import { isMadeFrom, sealedTemplate } from "./public-area.ts";
import { TpmSession } from "./session.ts";
import type { TpmTurn } from "./tpm.ts";
import { sized, u16, WireReader } from "./wire.ts";

/** What every TPM takes into a sealed object: MAX_SYM_DATA of TPM 2.0 Part 2. */
export const MAX_SEALED_BYTES = 128;

/** A new sealed object, both parts with their lengths, as clevis stores them. */
export interface SealedParts {
  readonly publicArea: Uint8Array;
  readonly privateArea: Uint8Array;
}

/**
 * Seals a secret under a primary (TPM2_Create, Part 3 section 12.1). It crosses the bus encrypted; nothing stays in the TPM.
 * @param hash name algorithm of the object
 * @param authPolicy digest of the policy that opens it; nothing: this TPM is enough
 * @throws LatchkeyError what the TPM answers
 */
export async function seal(
  turn: TpmTurn,
  primaryTemplate: PrimaryTemplate,
  hash: NameHash,
  authPolicy: Uint8Array | undefined,
  secret: SecretBytes,
): Promise<SealedParts> {
  if (secret.length === 0 || secret.length > MAX_SEALED_BYTES) {
    throw new LatchkeyError(
      "system/secret-too-long",
      `a TPM seals 1 to ${MAX_SEALED_BYTES} bytes, not ${secret.length}`,
    );
  }
  const { channel, primaries, signal } = turn;
  const primary = await primaries.get(primaryTemplate, signal);
  const template = sealedTemplate(hash, authPolicy);
  await using session = await TpmSession.start(turn, primary, "hmac", hash, "encryptsCommand");
  const command = commands.create(primary, encryptSensitive(session, secret), template);
  // A TPM needs a free slot while it makes an object.
  const answer = await primaries.withRoom(primary, () => channel.execute(command, signal, session));
  const reader = answerReader(command.name, answer.parameters);
  const privateArea = reader.sizedWhole().slice();
  const publicArea = reader.sizedWhole().slice(); // creation data, hash and ticket follow
  const area = new WireReader(publicArea, "the TPM's answer to Create", "tpm2/bad-answer").sized();
  if (!isMadeFrom(template, area)) throw reader.fail("it is not the object that was asked for");
  return { publicArea, privateArea };
}

/** TPM2B_SENSITIVE_CREATE (Part 2 section 11.1): empty password, the secret; its octets encrypted, its length not. */
function encryptSensitive(session: TpmSession, secret: SecretBytes): Uint8Array {
  using sensitive = SecretBytes.allocate(2 + 2 + secret.length);
  sensitive.bytes.set(u16(secret.length), 2);
  sensitive.bytes.set(secret.bytes, 4);
  return sized(session.encrypt(sensitive));
}
