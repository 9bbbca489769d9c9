import type { KeyFormat, VaultPlan } from "../../config/plan.ts";
import type { Clock } from "../../system/clock.ts";
import { asLatchkeyError, LatchkeyError } from "../../system/errors.ts";
import type { SecretBytes } from "../../system/secret-bytes.ts";
import { hasChecksum } from "../key-checksum.ts";
import { decodeKey } from "../key-format.ts";
import type { Source, SourceContext, VolumeProgress } from "../source.ts";
import type { KeyReader } from "../usb/key-reader.ts";
import { onlyFilesystem } from "../usb/stick-watch.ts";

export interface VaultSourceSettings {
  readonly vault: VaultPlan;
  readonly format: KeyFormat;
  /** What the key opens. */
  readonly volumes: readonly string[];
  readonly reader: KeyReader;
  readonly clock: Clock;
  /** The device on which an open volume's filesystem is. */
  deviceOf(volume: string): string;
}

/** A key file on another encrypted volume, which its own sources open in the same run. */
export class VaultSource implements Source {
  readonly kind = "vault";
  readonly name: string;
  readonly isQuestion = false;
  readonly listens = true;
  readonly volumes: readonly string[];
  readonly #settings: VaultSourceSettings;

  constructor(settings: VaultSourceSettings) {
    this.name = `vault ${settings.vault.volume}`;
    this.volumes = settings.volumes;
    this.#settings = settings;
  }

  /** @throws LatchkeyError vault/…, key-file/… */
  async run(context: SourceContext): Promise<void> {
    const { vault, clock, reader } = this.#settings;
    reader.prepare();
    const waiting = new AbortController();
    const signal = AbortSignal.any([context.signal, waiting.signal]);
    void clock.sleep(vault.timeout, signal).then(() => {
      if (!signal.aborted) context.nothingYet(this.#notOpen(`is not open after ${vault.timeout / 1000} s`));
    });
    // At once: whoever opened the vault may have been the last other source, and then the run would end.
    const settled = await vaultSettled(vault.volume, context, () => context.atWork(this.#offerKey(context)));
    waiting.abort();
    if (settled === undefined) return;
    if ("work" in settled) return await settled.work;
    if (context.signal.aborted) return;
    throw this.#notOpen(
      settled.progress ? `is not opened: ${settled.progress.reason ?? "it failed"}` : "is no volume of this run",
    );
  }

  async #offerKey(context: SourceContext): Promise<void> {
    await context.offer(await this.#readKey(context.signal), this.#settings.volumes);
  }

  async #readKey(signal: AbortSignal): Promise<SecretBytes> {
    const { vault, reader, deviceOf, format } = this.#settings;
    const device = deviceOf(vault.volume);
    const identity = await reader.identify(device, undefined, signal);
    if (identity.filesystems.length === 0) throw this.#notOpen(`holds no vfat, exfat, ext4 or iso9660`);
    const stick = { path: device, occurrence: device, isRemovable: false };
    const { type } = onlyFilesystem({ stick, identity });
    const content = await reader.read({ on: device, type, path: vault.path }, signal);
    try {
      const what = `${vault.path} in ${vault.volume}`;
      if (!hasChecksum(content, vault.sha256)) throw wrongChecksum(what);
      return decodeKey(content, format, what);
    } catch (thrown) {
      content[Symbol.dispose]();
      throw thrown;
    }
  }

  #notOpen(what: string): LatchkeyError {
    const { vault, volumes } = this.#settings;
    return new LatchkeyError("vault/not-open", `${volumes.join(", ")}: vault ${vault.volume} ${what}`);
  }
}

/** What was begun when the vault was open, or how it stands when it will not be; `progress` is missing when there is no such volume. */
type Settled = { readonly work: Promise<void> } | { readonly progress: VolumeProgress | undefined };

/** @returns undefined when the signal came first */
function vaultSettled(
  volume: string,
  context: SourceContext,
  whenOpen: () => Promise<void>,
): Promise<Settled | undefined> {
  return new Promise((resolve, reject) => {
    let isSettled = false;
    const settle = (how: Settled | undefined): void => {
      isSettled = true;
      resolve(how);
    };
    const look = (): void => {
      if (isSettled) return;
      try {
        const progress = context.progress().volumes.find(({ name }) => name === volume);
        if (progress?.standing === "open") settle({ work: whenOpen() });
        else if (progress === undefined || progress.standing === "failed") settle({ progress });
      } catch (thrown) {
        reject(asLatchkeyError(thrown));
      }
    };
    context.signal.addEventListener("abort", () => settle(undefined), { once: true });
    context.onChange(look);
    look();
  });
}

function wrongChecksum(what: string): LatchkeyError {
  return new LatchkeyError(
    "vault/checksum-mismatch",
    `${what} is not the key file of the configuration: its SHA-256 differs`,
    { hint: "was it written anew? then its sha256 in latchkey.toml has to follow, and the initrd has to be rebuilt" },
  );
}
