import { LatchkeyError } from "../system/errors.ts";
import type { SecretBytes } from "../system/secret-bytes.ts";
import type { NameHash } from "./algorithms.ts";
import { answerReader, commands, type NamedHandle } from "./commands.ts";
import { type PcrSelection, pcrWords } from "./pcr-selection.ts";
import { readPcrs } from "./pcrs.ts";
import { pcrPolicyDigest } from "./policy.ts";
import type { PrimaryKey, PrimaryTemplate } from "./primary.ts";
import type { SealedPublic } from "./public-area.ts";
import type { EphemeralKeyPair } from "./randomness.ts";
import { BASE, isAbout, RC, TpmResponseError } from "./response-codes.ts";
import { TpmSession } from "./session.ts";
import type { TpmTurn } from "./tpm.ts";
import { sameBytes } from "./wire.ts";

/** At boot other services extend PCRs just then, each time spoiling a policy session (anatol/booster#263). */
const POLICY_TRIES = 8;
/** Milliseconds before the second try; each later one waits as much longer. */
const POLICY_PAUSE = 15;

/** A secret in a TPM's wrapping, and what it takes to open it. */
export interface SealedObject {
  readonly primary: PrimaryTemplate;
  /** Name algorithm of the object. */
  readonly hash: NameHash;
  /** TPM2B_PUBLIC and TPM2B_PRIVATE, with their lengths. */
  readonly publicArea: Uint8Array;
  readonly privateArea: Uint8Array;
  readonly public: SealedPublic;
  /** Nothing: it opens with its empty password. */
  readonly selection: PcrSelection | undefined;
}

/**
 * Opens a sealed object: the PCRs are compared before anything is loaded, the answer crosses the bus encrypted, and what was
 * loaded is freed, also after an error.
 * @throws LatchkeyError tpm2/pcr-mismatch, tpm2/integrity, and what else the TPM answers
 */
export async function unseal(turn: TpmTurn, sealed: SealedObject): Promise<SecretBytes> {
  if (sealed.selection) await requirePcrs(turn, sealed, sealed.selection);
  const asking = turn.primaries.get(sealed.primary, turn.signal);
  const keyPair = prepareKeyPair(turn, sealed.primary); // while the TPM makes its key
  const primary = await asking;
  const object = await load(turn, sealed, primary);
  try {
    for (let attempt = 1; ; attempt++) {
      try {
        return await unsealLoaded(turn, sealed, primary, object, attempt === 1 ? keyPair : undefined);
      } catch (error) {
        if (!sealed.selection || attempt >= POLICY_TRIES || !mayBeRace(error)) throw error;
      }
      await turn.channel.clock.sleep(POLICY_PAUSE * attempt, turn.signal);
      await requirePcrs(turn, sealed, sealed.selection);
    }
  } finally {
    turn.channel.flushSoon(object.handle); // while the caller opens the token with what it got
  }
}

/**
 * Is it this TPM that sealed the object? Loads it and frees it again; what is inside stays there.
 * @throws LatchkeyError tpm2/integrity for the object of another TPM, or of this one before it was cleared; what else it answers
 */
export async function tryLoading(turn: TpmTurn, sealed: SealedObject): Promise<void> {
  const primary = await turn.primaries.get(sealed.primary, turn.signal);
  const object = await load(turn, sealed, primary);
  await turn.channel.flush(object.handle);
}

function prepareKeyPair({ random }: TpmTurn, { shape }: PrimaryTemplate): Promise<EphemeralKeyPair> | undefined {
  if (shape.type !== "ecc") return undefined;
  const keyPair = random.keyPair(shape.curve);
  keyPair.catch(() => undefined); // whoever waits for it is told
  return keyPair;
}

/** How PCRs stand to what an object was sealed to. */
export interface PcrMatch {
  readonly matches: boolean;
  /** Values now, in ascending order of the PCRs. */
  readonly values: readonly Uint8Array[];
}

/**
 * Computes the policy digest that the PCRs give now and compares it with the one inside the object. Only the digest over
 * all of them is known, so that of several PCRs nobody can tell which one differs.
 */
export async function comparePcrs(turn: TpmTurn, sealed: SealedObject, selection: PcrSelection): Promise<PcrMatch> {
  const values = await readPcrs(turn, selection);
  const now = pcrPolicyDigest(sealed.hash, selection, values);
  return { matches: sameBytes(now, sealed.public.authPolicy), values };
}

async function requirePcrs(turn: TpmTurn, sealed: SealedObject, selection: PcrSelection): Promise<void> {
  if ((await comparePcrs(turn, sealed, selection)).matches) return;
  const { pcrs, bank } = selection;
  const differs = pcrs.length === 1 ? `${pcrWords(pcrs)} differs` : `one or more of ${pcrWords(pcrs)} differ`;
  throw new LatchkeyError("tpm2/pcr-mismatch", `${differs} from what the token was sealed to (bank ${bank.name})`, {
    hint: "after an update of firmware, Secure Boot keys or boot loader: open with the passphrase, then enrol again with `latchkey enroll tpm2`",
  });
}

/** A PCR was extended between reading it and using it: perhaps one that is not bound, perhaps back in order next time. */
function mayBeRace(error: unknown): boolean {
  if (!(error instanceof TpmResponseError)) return false;
  return (error.rc & 0xfff) === RC.pcrChanged || isAbout(error.rc, BASE.policyFail);
}

async function load(turn: TpmTurn, sealed: SealedObject, primary: PrimaryKey): Promise<NamedHandle> {
  return turn.primaries.withRoom(primary, async () => {
    const command = commands.load(primary, sealed.privateArea, sealed.publicArea);
    const answer = await turn.channel.execute(command, turn.signal, "password");
    return { handle: answer.handle, name: sealed.public.name };
  });
}

async function unsealLoaded(
  turn: TpmTurn,
  sealed: SealedObject,
  primary: PrimaryKey,
  object: NamedHandle,
  keyPair: Promise<EphemeralKeyPair> | undefined,
): Promise<SecretBytes> {
  const { channel, signal } = turn;
  const { selection, hash } = sealed;
  const type = selection ? "policy" : "hmac";
  await using session = await TpmSession.start(turn, primary, type, hash, "encryptsResponse", keyPair);
  if (selection) await channel.execute(commands.policyPcr(session.handle, selection), signal);
  const command = commands.unseal(object);
  const answer = await channel.execute(command, signal, session);
  const reader = answerReader(command.name, answer.parameters);
  const ciphertext = reader.sized();
  reader.end();
  return session.decrypt(ciphertext);
}
