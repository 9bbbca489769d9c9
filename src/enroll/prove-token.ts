import { type JsonObject, member } from "../jose/json.ts";
import { openToken } from "../sources/clevis/decrypt.ts";
import { parseToken, type Token } from "../sources/clevis/token.ts";
import type { ClevisTools, Tpm2Opener } from "../sources/clevis/tools.ts";
import { pcrFacts } from "../sources/clevis/tpm2-open.ts";
import { parseTpm2Pin } from "../sources/clevis/tpm2-pin.ts";
import { LatchkeyError } from "../system/errors.ts";
import type { SecretBytes } from "../system/secret-bytes.ts";
import { commands } from "../tpm2/commands.ts";
import type { Tpm } from "../tpm2/tpm.ts";
import type { SealedKeys } from "./seal-token.ts";

export interface ProofMeans {
  /** A TPM of its own, by a new connection, as the boot will have. */
  openTpm(): Tpm;
  openTools(): ClevisTools & AsyncDisposable;
  readonly keys: SealedKeys;
}

export interface ProvenToken {
  readonly token: Token;
  /** What came out. */
  readonly secret: SecretBytes;
  /**
   * False: some share is sealed to PCR values that are not today's, so the TPM was asked only whether it can load what it
   * sealed, and it keeps the key to itself until the values are there.
   */
  readonly openedHere: boolean;
}

/**
 * Opens a new token as the boot will: parsed anew, the TPM and the servers asked again; of several shares each by itself,
 * since opening the token stops at its threshold.
 * @throws LatchkeyError what kept it from opening; enroll/proof-failed when something else came out than was put in
 */
export async function proveToken(
  text: string,
  sealed: SecretBytes,
  means: ProofMeans,
  signal: AbortSignal,
): Promise<ProvenToken> {
  const token = parseToken(text);
  await using own = means.openTools();
  const deferred = new DeferringOpener(own.tpm2, means);
  const tools: ClevisTools = { ...own, tpm2: deferred };
  for (const share of sharesOf(token)) (await openToken(share, tools, signal))[Symbol.dispose]();
  const secret = await openToken(token, tools, signal);
  if (secret.equals(sealed)) return { token, secret, openedHere: !deferred.hasDeferred };
  secret[Symbol.dispose]();
  throw new LatchkeyError("enroll/proof-failed", "the new token gave back something else than was put into it");
}

function sharesOf({ pin }: Token): readonly Token[] {
  if (pin.kind !== "sss") return [];
  return pin.shares.map((share) => {
    if ("token" in share) return share.token;
    throw share.error;
  });
}

/**
 * Opens what can be opened now. What was sealed to expected PCR values that are not today's, the TPM is only made to load,
 * and the key that was kept opens the rest.
 */
class DeferringOpener implements Tpm2Opener {
  readonly #opener: Tpm2Opener | undefined;
  readonly #means: ProofMeans;
  /** By what was sealed. Asked once: afterwards the opener has its connection, and there is room for no second. */
  readonly #openToday = new Map<unknown, boolean>();
  hasDeferred = false;

  constructor(opener: Tpm2Opener | undefined, means: ProofMeans) {
    this.#opener = opener;
    this.#means = means;
  }

  async open(pin: JsonObject, signal: AbortSignal): Promise<SecretBytes> {
    if (!this.#opener) throw new LatchkeyError("internal/defect", "a share for a TPM was sealed without one");
    const sealed = member(pin, "jwk_priv");
    using kept = this.#means.keys.copyOf(sealed);
    if (!kept) return await this.#opener.open(pin, signal);
    const isOpen = this.#openToday.get(sealed) ?? (await this.#isOpenToday(pin, signal));
    this.#openToday.set(sealed, isOpen);
    if (isOpen) return await this.#opener.open(pin, signal);
    this.hasDeferred = true;
    return kept.clone();
  }

  async #isOpenToday(pin: JsonObject, signal: AbortSignal): Promise<boolean> {
    // A connection of its own, closed before the opener makes one: a TPM without resource manager serves one at a time.
    await using tpm = this.#means.openTpm();
    const facts = await pcrFacts(tpm, pin, signal);
    if (!facts || facts.matches) return true;
    await load(tpm, pin, signal);
    return false;
  }
}

/** TPM2_Load checks both parts against each other and against this TPM's own key (Part 3 section 12.2). */
async function load(tpm: Tpm, pin: JsonObject, signal: AbortSignal): Promise<void> {
  const { sealed } = parseTpm2Pin(pin);
  await tpm.use(signal, async (turn) => {
    const primary = await turn.primaries.get(sealed.primary, turn.signal);
    await turn.primaries.withRoom(primary, async () => {
      const command = commands.load(primary, sealed.privateArea, sealed.publicArea);
      const { handle } = await turn.channel.execute(command, turn.signal, "password");
      await turn.channel.flush(handle);
    });
  });
}
