import type { Command } from "commander";
import { LatchkeyError } from "../system/errors.ts";
import type { SecretBytes } from "../system/secret-bytes.ts";
import { readSecret, withoutTrailingNewlines } from "../system/secret-input.ts";

export interface CredentialOptions {
  readonly passphraseFile?: string;
  readonly keyFile?: string;
}

export interface GivenCredential {
  /** What it is in messages. */
  readonly name: string;
  readonly secret: SecretBytes;
}

export function addPassphraseFile(command: Command): Command {
  return command.option(
    "--passphrase-file <file>",
    "take the passphrase from this file, or from standard input (-); newlines at its end are cut",
  );
}

/**
 * The credential the options name, if they name one.
 * @throws LatchkeyError usage/invalid when they name two, or as readSecret
 */
export function givenCredential({ passphraseFile, keyFile }: CredentialOptions): GivenCredential | undefined {
  if (passphraseFile !== undefined && keyFile !== undefined) {
    throw new LatchkeyError("usage/invalid", "--passphrase-file and --key-file exclude each other");
  }
  if (passphraseFile !== undefined) {
    return { name: "passphrase file", secret: withoutTrailingNewlines(readSecret(passphraseFile)) };
  }
  if (keyFile !== undefined) return { name: "key file", secret: readSecret(keyFile) };
  return undefined;
}
