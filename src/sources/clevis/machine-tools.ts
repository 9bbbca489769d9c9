import type { JsonObject } from "../../jose/json.ts";
import { monotonicClock } from "../../system/clock.ts";
import { LatchkeyError } from "../../system/errors.ts";
import type { SecretBytes } from "../../system/secret-bytes.ts";
import { chooseTcti, type TpmAddress } from "../../tpm2/tcti.ts";
import type { Tpm } from "../../tpm2/tpm.ts";
import { findClevis } from "./fallback.ts";
import { type HttpOptions, httpOverFetch } from "./http.ts";
import type { ClevisFallback, ClevisTools, Tpm2Opener } from "./tools.ts";

/** A bundle of all public authorities has 220 KiB. */
const MAX_AUTHORITY_BYTES = 1024 * 1024;

export interface MachineToolsOptions {
  /** A TCTI string; TPM2TOOLS_TCTI in the environment wins. */
  readonly tcti?: string;
  /** A PEM file: https servers must have a certificate by an authority in it. */
  readonly authorityFile?: string;
  /** See ClevisTools. */
  readonly tangPatience: number;
}

/** The machine's own TPM, network and clevis. One for all tokens of a run; dispose it to leave nothing in the TPM. */
export function machineTools(options: MachineToolsOptions): ClevisTools & AsyncDisposable {
  const { authorityFile, tcti, tangPatience } = options;
  const http: HttpOptions = authorityFile === undefined ? {} : { certificateAuthority: readAuthority(authorityFile) };
  const tpm2 = new LateTpm(chooseTcti(tcti, process.env));
  let clevis: { readonly found: ClevisFallback | undefined } | undefined;
  return {
    tpm2,
    http: httpOverFetch(http),
    get fallback() {
      clevis ??= { found: findClevis() }; // looked for only when a token needs it
      return clevis.found;
    },
    clock: monotonicClock,
    tangPatience,
    [Symbol.asyncDispose]: () => tpm2[Symbol.asyncDispose](),
  };
}

/** The machine's TPM, and all that speaks to it, loaded when the first token needs it. */
class LateTpm implements Tpm2Opener, AsyncDisposable {
  readonly #address: TpmAddress;
  #loaded: Promise<{ readonly tpm: Tpm; readonly opener: Tpm2Opener }> | undefined;

  constructor(address: TpmAddress) {
    this.#address = address;
  }

  async open(pin: JsonObject, signal: AbortSignal): Promise<SecretBytes> {
    this.#loaded ??= this.#load();
    const { opener } = await this.#loaded;
    return await opener.open(pin, signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const loaded = await this.#loaded;
    await loaded?.tpm[Symbol.asyncDispose]();
  }

  async #load() {
    const { Tpm } = await import("../../tpm2/tpm.ts");
    const { tpm2Opener } = await import("./tpm2-open.ts");
    const tpm = new Tpm(this.#address);
    return { tpm, opener: tpm2Opener(tpm) };
  }
}

/** Read before it is needed: a wrong file is a mistake of the configuration, not of a server. */
function readAuthority(path: string): string {
  const fail = (reason: string, cause?: unknown): LatchkeyError =>
    new LatchkeyError("tang/ca-unreadable", `the certificate authority ${path} ${reason}`, { cause });
  // Loaded for the few who have one: together they take Bun as long as its own start.
  const { readFileSync } = require("node:fs") as typeof import("node:fs");
  const { X509Certificate } = require("node:crypto") as typeof import("node:crypto");
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (cause) {
    throw fail(`cannot be read (${(cause as NodeJS.ErrnoException).code})`, cause);
  }
  if (bytes.length > MAX_AUTHORITY_BYTES) throw fail(`is longer than ${MAX_AUTHORITY_BYTES} bytes`);
  try {
    new X509Certificate(bytes);
  } catch (cause) {
    throw fail("holds no PEM certificate", cause);
  }
  return bytes.toString("latin1");
}
