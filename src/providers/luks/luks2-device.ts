import { type JsonObject, sortedJson } from "../../jose/json.ts";
import { LatchkeyError } from "../../system/errors.ts";
import type { SecretBytes } from "../../system/secret-bytes.ts";
import { BAD_PASSPHRASE, type CryptsetupCall, type CryptsetupEnd, keyFile, type RunCryptsetup } from "./cryptsetup.ts";
import { type Luks2Metadata, parseMetadata } from "./luks2-header.ts";

/**
 * What clevis (clevis-luks-common-functions) and systemd-cryptenroll take for keys that are random to the last bit: there is
 * nothing to guess, so nothing to slow down. 1000 is the least that cryptsetup takes.
 */
const RANDOM_KEY_PBKDF = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"] as const;

/** A device with a LUKS2 header, through cryptsetup. */
export class Luks2Device {
  readonly path: string;
  readonly #run: RunCryptsetup;

  constructor(path: string, run: RunCryptsetup) {
    this.path = path;
    this.#run = run;
  }

  /** What lies in clear. */
  async metadata(): Promise<Luks2Metadata> {
    const { output } = await this.#succeed({ args: ["luksDump", "--dump-json-metadata", this.path] });
    return parseMetadata(output, this.path);
  }

  /**
   * Proves a key right, on one slot or on any, without opening anything.
   * @throws LatchkeyError luks/wrong-passphrase
   */
  async prove(key: SecretBytes, slot: number | undefined, signal: AbortSignal): Promise<void> {
    const where = slot === undefined ? [] : ["--key-slot", String(slot)];
    const args = ["open", "--test-passphrase", "--type", "luks2", ...where, "--key-file", keyFile(0), this.path];
    const end = await this.#run({ args, secrets: [key], signal });
    if (end.status === BAD_PASSPHRASE) {
      const what = slot === undefined ? "no key slot" : `not key slot ${slot}`;
      throw new LatchkeyError("luks/wrong-passphrase", `${this.path}: the passphrase opens ${what}`);
    }
    this.#check("open", end);
  }

  /** @param existing a key that opens the header already */
  async addSlot(slot: number, existing: SecretBytes, key: SecretBytes): Promise<void> {
    await this.#succeed({
      args: [
        ...["luksAddKey", "--batch-mode", "--key-slot", String(slot), ...RANDOM_KEY_PBKDF],
        ...["--key-file", keyFile(0), this.path, keyFile(1)],
      ],
      secrets: [existing, key],
    });
  }

  /** @param remaining a key of another slot, without which cryptsetup takes none away */
  async removeSlot(slot: number, remaining: SecretBytes): Promise<void> {
    const args = ["luksKillSlot", this.path, String(slot), "--key-file", keyFile(0)];
    await this.#succeed({ args, secrets: [remaining] });
  }

  async addToken(id: number, token: JsonObject): Promise<void> {
    const args = ["token", "import", "--token-id", String(id), "--json-file", "-", this.path];
    // The order of clevis: type, key slots, jwe. What is inside the jwe is sorted, as jose prints it.
    const input = `{${Object.entries(token)
      .map(([name, value]) => `${JSON.stringify(name)}:${sortedJson(value)}`)
      .join(",")}}`;
    const end = await this.#run({ args, input });
    if (end.status === 0) return;
    throw new LatchkeyError("luks/tool-failed", failure(this.path, "token import", end), {
      hint: `the header may have no room for a token of ${input.length} characters: fewer shares make it smaller`,
    });
  }

  async removeToken(id: number): Promise<void> {
    await this.#succeed({ args: ["token", "remove", "--token-id", String(id), this.path] });
  }

  async #succeed(call: CryptsetupCall): Promise<CryptsetupEnd> {
    return this.#check(call.args[0] ?? "", await this.#run(call));
  }

  #check(action: string, end: CryptsetupEnd): CryptsetupEnd {
    if (end.status === 0) return end;
    throw new LatchkeyError("luks/tool-failed", failure(this.path, action, end));
  }
}

function failure(path: string, action: string, { status, complaint }: CryptsetupEnd): string {
  return `${path}: cryptsetup ${action} ended with status ${status}${complaint === "" ? "" : `: ${complaint}`}`;
}
