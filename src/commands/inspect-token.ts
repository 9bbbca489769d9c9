import {
  describePinTree,
  type Need,
  type PinDescription,
  pinTreeLines,
  tokenNeeds,
} from "../sources/clevis/describe.ts";
import { parseToken } from "../sources/clevis/token.ts";

/** What `inspect` prints for a Clevis token as JSON. No secret. */
export interface TokenFacts {
  readonly type: "clevis-token";
  readonly pin: PinDescription;
  readonly needs: { readonly tpm: Need; readonly network: Need; readonly clevis: Need };
}

/** @param text compact, flattened, or the token object of a LUKS2 header */
export function tokenFacts(text: string): TokenFacts {
  const pin = describePinTree(parseToken(text));
  return { type: "clevis-token", pin, needs: tokenNeeds(pin) };
}

/** The same for people: the pin tree, then what has to be there. */
export function tokenText({ pin, needs }: TokenFacts): string {
  const words: Readonly<Record<Need, string>> = {
    none: "not used",
    optional: "used, not required",
    required: "required",
  };
  return [
    "Clevis token",
    ...pinTreeLines(pin).map((line) => `  ${line}`),
    `  TPM: ${words[needs.tpm]}`,
    `  network: ${words[needs.network]}`,
    ...(needs.clevis === "none" ? [] : [`  installed clevis: ${words[needs.clevis]}`]),
  ].join("\n");
}
