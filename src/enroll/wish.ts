import { tangUrl } from "../sources/clevis/tang-pin.ts";
import { MAX_SHARES } from "../sources/clevis/token.ts";
import { parsePcrIds } from "../sources/clevis/tpm2-pin.ts";
import { asLatchkeyError, LatchkeyError } from "../system/errors.ts";
import { type HashAlgorithm, hashAlgorithms } from "../tpm2/algorithms.ts";

/** What a person wants enrolled, understood from the words of the command line. Nothing has been looked at yet. */
export type Wish = PinWish | { readonly method: "recovery" };

/** A Clevis token with this pin. */
export type PinWish = Tpm2Wish | TangWish | SssWish;

export interface Tpm2Wish {
  readonly method: "tpm2";
  /** In the order asked for; none: any system that starts on this machine opens the token. */
  readonly pcrs: readonly number[];
  /** Nobody named PCRs. */
  readonly isDefault: boolean;
  /** Undefined: sha256, where the TPM keeps it. */
  readonly bank: HashAlgorithm | undefined;
  readonly key: "ecc" | "rsa";
  /** Made elsewhere, from the values that the PCRs are expected to have. */
  readonly policyDigest: Uint8Array | undefined;
}

export interface TangWish {
  readonly method: "tang";
  /** As tokens have it: with its scheme, without a slash at the end. */
  readonly url: string;
  readonly trust: TrustWish;
}

/** How the keys of a Tang server come to be believed. */
export type TrustWish =
  | { readonly by: "thumbprint"; readonly thumbprint: string }
  /** An advertisement that was brought here by a way the person trusts. */
  | { readonly by: "file"; readonly path: string }
  /** The thumbprints are shown, and a person compares. */
  | { readonly by: "question" };

export interface SssWish {
  readonly method: "sss";
  readonly threshold: number;
  /** In the order clevis has them: pins sorted by name. */
  readonly shares: readonly (Tpm2Wish | TangWish)[];
}

export interface Tpm2Words {
  readonly pcrs?: string | undefined;
  readonly pcrBank?: string | undefined;
  readonly key?: string | undefined;
  readonly policyFromDigest?: string | undefined;
}

/** The default: what Secure Boot let start. `pcr-advice.ts` has the reason in words. */
const DEFAULT_PCRS = [7] as const;
/** A policy digest has the size of the name algorithm, which is sha256 in every token that latchkey makes. */
const POLICY_DIGEST_DIGITS = 64;

/** @throws LatchkeyError usage/invalid */
export function tpm2Wish({ pcrs, pcrBank, key = "ecc", policyFromDigest }: Tpm2Words): Tpm2Wish {
  const isNone = pcrs?.trim().toLowerCase() === "none";
  const wanted = pcrs === undefined ? DEFAULT_PCRS : isNone ? [] : parsePcrIds(pcrs, "usage/invalid");
  if (wanted.length === 0 && !isNone) {
    throw new LatchkeyError("usage/invalid", "--pcrs names no PCR", { hint: "to bind to none, say --pcrs none" });
  }
  if (key !== "ecc" && key !== "rsa") throw invalid(`--key is ecc or rsa, not ${JSON.stringify(key)}`);
  const bank = hashAlgorithms.find(({ name }) => name === pcrBank);
  if (pcrBank !== undefined && !bank) {
    throw invalid(`--pcr-bank is one of ${hashAlgorithms.map(({ name }) => name).join(", ")}`);
  }
  if (isNone && (pcrBank !== undefined || policyFromDigest !== undefined)) {
    throw invalid("--pcr-bank and --policy-from-digest mean nothing without PCRs");
  }
  const policyDigest = policyFromDigest === undefined ? undefined : policyDigestOf(policyFromDigest);
  return { method: "tpm2", pcrs: wanted, isDefault: pcrs === undefined, bank, key, policyDigest };
}

function policyDigestOf(digits: string): Uint8Array {
  if (digits.length === POLICY_DIGEST_DIGITS && /^[0-9a-f]+$/i.test(digits)) return Uint8Array.fromHex(digits);
  throw new LatchkeyError(
    "usage/invalid",
    `--policy-from-digest is a policy digest of sha256: ${POLICY_DIGEST_DIGITS} hexadecimal digits`,
    { hint: "tpm2_createpolicy --policy-pcr -l sha256:7 -f expected-values -L digest makes one" },
  );
}

export interface TangWords {
  readonly url: string;
  readonly thumbprint?: string | undefined;
  readonly advertisement?: string | undefined;
}

/** @throws LatchkeyError usage/invalid */
export function tangWish({ url, thumbprint, advertisement }: TangWords): TangWish {
  if (thumbprint !== undefined && advertisement !== undefined) {
    throw invalid("--thumbprint and --advertisement exclude each other");
  }
  return { method: "tang", url: serverOf(url), trust: trustOf(thumbprint, advertisement) };
}

function trustOf(thumbprint: string | undefined, advertisement: string | undefined): TrustWish {
  if (advertisement !== undefined) return { by: "file", path: advertisement };
  if (thumbprint === undefined) return { by: "question" };
  // SHA-256, or SHA-1 as before clevis 17.
  if (/^([A-Za-z0-9_-]{43}|[A-Za-z0-9_-]{27})$/.test(thumbprint)) return { by: "thumbprint", thumbprint };
  throw new LatchkeyError("usage/invalid", "a thumbprint has 43 characters of base64url", {
    hint: "tang-show-keys on the server prints them",
  });
}

function serverOf(url: string): string {
  try {
    return tangUrl(url);
  } catch (thrown) {
    throw invalid(asLatchkeyError(thrown).message.replace("the tang pin has a url", "the server has an address"));
  }
}

export interface SssWords extends Tpm2Words {
  readonly threshold: string;
  readonly tpm2?: boolean | undefined;
  /** `URL` or `URL#THUMBPRINT`. */
  readonly tang: readonly string[];
}

/** @throws LatchkeyError usage/invalid */
export function sssWish({ threshold, tpm2, tang, ...words }: SssWords): SssWish {
  const tangShares = tang.map((text): TangWish => {
    const [url = "", thumbprint] = text.split("#", 2);
    return tangWish({ url, thumbprint });
  });
  if (!tpm2 && Object.values(words).some((word) => word !== undefined)) {
    throw invalid("options of the TPM were given without --tpm2");
  }
  const twice = tangShares.find(({ url }, index) => tangShares.findIndex((other) => other.url === url) !== index);
  if (twice) throw invalid(`${twice.url} is named twice: it would be one server with two shares`);
  const shares = [...tangShares, ...(tpm2 ? [tpm2Wish(words)] : [])];
  if (shares.length === 0) throw invalid("sss needs shares: --tpm2, --tang URL, or several of them");
  if (shares.length > MAX_SHARES) throw invalid(`a token has at most ${MAX_SHARES} shares, not ${shares.length}`);
  const wanted = /^\d{1,3}$/.test(threshold) ? Number(threshold) : 0;
  if (wanted < 1 || wanted > shares.length) {
    throw invalid(`--threshold is a number from 1 to the number of shares, ${shares.length}`);
  }
  return { method: "sss", threshold: wanted, shares };
}

/** The pin and every pin inside it. */
export function pinsOf(wish: PinWish): readonly (Tpm2Wish | TangWish)[] {
  return wish.method === "sss" ? wish.shares : [wish];
}

function invalid(message: string): LatchkeyError {
  return new LatchkeyError("usage/invalid", message);
}
