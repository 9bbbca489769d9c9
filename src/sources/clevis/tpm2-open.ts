import { KEY_BYTES } from "../../jose/a256gcm.ts";
import type { JsonObject } from "../../jose/json.ts";
import { malformed } from "../../jose/malformed.ts";
import { keyFromOctJwk } from "../../jose/oct-jwk.ts";
import type { SecretBytes } from "../../system/secret-bytes.ts";
import { comparePcrs, unseal } from "../../tpm2/sealed-object.ts";
import type { Tpm } from "../../tpm2/tpm.ts";
import { hex } from "../../tpm2/wire.ts";
import type { Tpm2Opener } from "./tools.ts";
import { parseTpm2Pin } from "./tpm2-pin.ts";

/**
 * Opens tokens of the pin tpm2 as clevis-decrypt-tpm2 does, with the one TPM that all tokens share.
 * @param tpm stays the caller's
 */
export function tpm2Opener(tpm: Tpm): Tpm2Opener {
  return {
    async open(header: JsonObject, signal: AbortSignal): Promise<SecretBytes> {
      const { sealed } = parseTpm2Pin(header); // before the TPM is opened: a broken token needs none
      using jwk = await tpm.use(
        signal,
        (turn) => unseal(turn, sealed),
        (late) => late[Symbol.dispose](),
      );
      const key = keyFromOctJwk(jwk);
      if (key.length === KEY_BYTES) return key;
      key[Symbol.dispose]();
      throw malformed(`the unsealed key has ${key.length} bytes, and A256GCM needs ${KEY_BYTES}`);
    },
  };
}

/** What a token wants of the PCRs and what they hold: for `inspect` and `check`. No secret. */
export interface PcrFacts {
  readonly bank: string;
  readonly pcrs: readonly { readonly pcr: number /** Hex. */; readonly value: string }[];
  /** All of them together are what the token was sealed to. */
  readonly matches: boolean;
}

/**
 * Compares today's PCRs with those a token was sealed to.
 * @returns nothing for a token without PCRs
 * @throws LatchkeyError token/malformed, token/unsupported; tpm2/bank-missing and others of the TPM
 */
export async function pcrFacts(tpm: Tpm, header: JsonObject, signal: AbortSignal): Promise<PcrFacts | undefined> {
  const { sealed } = parseTpm2Pin(header);
  const { selection } = sealed;
  if (!selection) return undefined;
  const { matches, values } = await tpm.use(signal, (turn) => comparePcrs(turn, sealed, selection));
  const pcrs = selection.pcrs.map((pcr, index) => ({ pcr, value: hex(values[index] ?? new Uint8Array()) }));
  return { bank: selection.bank.name, pcrs, matches };
}

/** What a token needs, without asking a TPM: for `inspect`. */
export interface Tpm2Needs {
  readonly key: string;
  readonly hash: string;
  /** Nothing: this TPM is enough. */
  readonly pcrs: { readonly bank: string; readonly pcrs: readonly number[] } | undefined;
}

/** @throws LatchkeyError token/malformed, token/unsupported */
export function tpm2Needs(header: JsonObject): Tpm2Needs {
  const { key, sealed } = parseTpm2Pin(header);
  const { selection, hash } = sealed;
  return { key, hash: hash.name, pcrs: selection && { bank: selection.bank.name, pcrs: selection.pcrs } };
}
