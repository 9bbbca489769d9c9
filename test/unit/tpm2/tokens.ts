import { readFileSync } from "node:fs";
import { join } from "node:path";
import { decryptA256gcm } from "../../../src/jose/a256gcm.ts";
import { type JsonObject, objectMember } from "../../../src/jose/json.ts";
import { type Jwe, parseCompactJwe } from "../../../src/jose/jwe.ts";
import { tpm2Opener } from "../../../src/sources/clevis/tpm2-open.ts";
import type { Tpm } from "../../../src/tpm2/tpm.ts";

const folder = join(import.meta.dir, "../../fixtures/clevis");

/** One case of test/fixtures/clevis/manifest.json. */
export interface TokenCase {
  readonly id: string;
  readonly file: string;
  readonly expect: "ok" | "error";
  readonly error?: string;
  readonly plaintext?: string;
  readonly extend?: { readonly pcr: number; readonly bank: string; readonly digest: string };
}

/** Every case of the pin tpm2 alone. */
export const tokenCases: readonly TokenCase[] = (
  JSON.parse(readFileSync(join(folder, "manifest.json"), "utf8")) as { tokens: TokenCase[] }
).tokens.filter(({ id }) => id.startsWith("tpm2-"));

export function tokenCase(id: string): TokenCase {
  const found = tokenCases.find((one) => one.id === id);
  if (!found) throw new Error(`there is no fixture ${id}`);
  return found;
}

export function readToken(id: string): Jwe {
  return parseCompactJwe(readFileSync(join(folder, tokenCase(id).file), "utf8").trim());
}

/** `clevis.tpm2` of a token's header. */
export function pinHeader(jwe: Jwe): JsonObject {
  return objectMember(objectMember(jwe.header, "clevis", "the header"), "tpm2", "the header");
}

/** The plaintext of a fixture token, opened with this TPM. */
export async function openToken(tpm: Tpm, jwe: Jwe, signal = new AbortController().signal): Promise<string> {
  using key = await tpm2Opener(tpm).open(pinHeader(jwe), signal);
  using plaintext = decryptA256gcm(key, jwe);
  return new TextDecoder().decode(plaintext.bytes);
}
