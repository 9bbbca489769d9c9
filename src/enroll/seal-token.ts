import { type Sealer, sssSealer, tangSealer, tpm2Sealer } from "../sources/clevis/seal.ts";
import type { Advertisement } from "../sources/clevis/tang-advertisement.ts";
import { type PcrExpectation, sealTpm2Key, type Tpm2SealOptions } from "../sources/clevis/tpm2-seal.ts";
import { LatchkeyError } from "../system/errors.ts";
import type { SecretBytes } from "../system/secret-bytes.ts";
import { type HashAlgorithm, hashById, hashByName } from "../tpm2/algorithms.ts";
import { allocatedBanks } from "../tpm2/capabilities.ts";
import { pcrSelection, pcrWords } from "../tpm2/pcr-selection.ts";
import { readPcrs } from "../tpm2/pcrs.ts";
import type { Tpm, TpmTurn } from "../tpm2/tpm.ts";
import { LATCH_PCR } from "./pcr-advice.ts";
import { type PinWish, pinsOf, type Tpm2Wish } from "./wish.ts";

/**
 * The content keys that were sealed to expected PCR values, by what they were sealed into: where these are not today's, the
 * token can be proved in all other respects with them.
 */
export class SealedKeys implements Disposable {
  readonly #keys = new Map<string, SecretBytes>();

  keep(sealed: string, key: SecretBytes): void {
    this.#keys.set(sealed, key.clone());
  }

  /** A copy with a scope of its own. */
  copyOf(sealed: unknown): SecretBytes | undefined {
    return typeof sealed === "string" ? this.#keys.get(sealed)?.clone() : undefined;
  }

  [Symbol.dispose](): void {
    for (const key of this.#keys.values()) key[Symbol.dispose]();
  }
}

export interface SealMeans {
  /** Asked for only when a pin needs it. */
  openTpm(): Tpm;
  /** By the address of the server. */
  readonly advertisements: ReadonlyMap<string, Advertisement>;
  readonly keys: SealedKeys;
  /** One line about a choice that was made. */
  note(text: string): void;
}

/** Makes the compact token that holds the secret. The secret stays the caller's. */
export async function sealToken(
  pin: PinWish,
  secret: SecretBytes,
  means: SealMeans,
  signal: AbortSignal,
): Promise<string> {
  if (!pinsOf(pin).some(({ method }) => method === "tpm2")) {
    return await sealerFor(pin, means, undefined)(secret, signal);
  }
  await using tpm = means.openTpm();
  return await sealerFor(pin, means, tpm)(secret, signal);
}

function sealerFor(pin: PinWish, means: SealMeans, tpm: Tpm | undefined): Sealer {
  switch (pin.method) {
    case "tang": {
      const advertisement = means.advertisements.get(pin.url);
      if (!advertisement) throw new LatchkeyError("internal/defect", `the keys of ${pin.url} were not fetched`);
      return tangSealer(pin.url, advertisement);
    }
    case "tpm2":
      return tpm2Sealer(async (key, signal) => {
        if (!tpm) throw new LatchkeyError("internal/defect", "a TPM is needed that was not opened");
        const options = await tpm.use(signal, (turn) => sealOptions(turn, pin, means));
        const header = await sealTpm2Key(tpm, key, options, signal);
        // What is sealed to today's values has to open today; only expected ones may be missing at the proof.
        if (options.expect && options.expect.kind !== "today") means.keys.keep(header.jwk_priv, key);
        return { ...header };
      });
    case "sss":
      return sssSealer(
        pin.threshold,
        pin.shares.map((share) => sealerFor(share, means, tpm)),
      );
  }
}

/** What is left open by the wish, decided by what the TPM has. */
async function sealOptions(turn: TpmTurn, wish: Tpm2Wish, means: Pick<SealMeans, "note">): Promise<Tpm2SealOptions> {
  const { key, pcrs } = wish;
  if (pcrs.length === 0) return { key };
  const bank = await chooseBank(turn, wish, means);
  return { key, pcrs, bank: bank.name, expect: await expectation(turn, wish, bank) };
}

/** In order of preference. A bank of sha1 is better than no token, and says so. */
const bankOrder = ["sha256", "sha384", "sha512", "sha3_256", "sha3_384", "sha3_512", "sm3_256", "sha1"] as const;

/** @throws LatchkeyError tpm2/bank-missing */
async function chooseBank(
  turn: TpmTurn,
  { bank: wanted, pcrs }: Tpm2Wish,
  { note }: Pick<SealMeans, "note">,
): Promise<HashAlgorithm> {
  const allocated = (await allocatedBanks(turn)).filter((bank) => pcrs.every((pcr) => bank.pcrs.includes(pcr)));
  const active = allocated.flatMap(({ bankId }) => hashById(bankId)?.name ?? []);
  const chosen = wanted ? active.find((name) => name === wanted.name) : bankOrder.find((name) => active.includes(name));
  if (chosen === undefined) {
    const what = wanted ? `bank ${wanted.name}` : "bank that latchkey knows";
    throw new LatchkeyError("tpm2/bank-missing", `the TPM keeps no ${what} with ${pcrWords(pcrs)}`, {
      hint:
        active.length === 0
          ? "turn a bank on in the firmware setup, or seal to other PCRs"
          : `it keeps ${active.join(", ")}: choose one with --pcr-bank, or turn the other on in the firmware setup`,
    });
  }
  if (!wanted && chosen !== "sha256") {
    const weak = chosen === "sha1" ? ", whose collisions are known" : "";
    note(`the TPM's PCR bank sha256 is off: bank ${chosen}${weak}`);
  }
  return hashByName(chosen, "the PCR bank");
}

/**
 * Today's values, but the latch open: once the machine has unlocked its disks the latch has fallen, and what it holds then is
 * what the token must not open to.
 */
async function expectation(turn: TpmTurn, wish: Tpm2Wish, bank: HashAlgorithm): Promise<PcrExpectation> {
  if (wish.policyDigest) return { kind: "policy", digest: wish.policyDigest };
  if (!wish.pcrs.includes(LATCH_PCR)) return { kind: "today" };
  const selection = pcrSelection(bank, wish.pcrs, "usage/invalid");
  const values = await readPcrs(turn, selection);
  const expected = selection.pcrs.map((pcr, index) => (pcr === LATCH_PCR ? new Uint8Array(bank.size) : values[index]));
  return { kind: "values", values: Buffer.concat(expected.map((value) => value ?? new Uint8Array())) };
}
