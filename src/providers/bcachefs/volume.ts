import type { Credential } from "../../system/credential.ts";
import { LatchkeyError } from "../../system/errors.ts";
import type { SecretBytes } from "../../system/secret-bytes.ts";
import type { FoundVolume, OpenedVolume, ProvenVolume, VolumeState } from "../provider.ts";
import type { KeyDeriver } from "./derive.ts";
import { checkedParameters, opensWrappedKey, parametersText } from "./key.ts";
import { type Destination, installKey, type VolumeKeyring } from "./keys.ts";
import type { FilesystemView } from "./members.ts";
import { oddityOf } from "./passphrase.ts";
import type { Superblock } from "./superblock.ts";

interface Means {
  readonly keyring: VolumeKeyring;
  readonly deriver: KeyDeriver;
  readonly destination: Destination;
}

/** A bcachefs whose devices were found. */
export class BcachefsVolume implements FoundVolume {
  readonly name: string;
  readonly state: VolumeState;
  /** Its devices; those of `view.devices` are what a mount is to be given. */
  readonly view: FilesystemView;
  readonly #means: Means;

  constructor(name: string, state: VolumeState, view: FilesystemView, means: Means) {
    this.name = name;
    this.state = state;
    this.view = view;
    this.#means = means;
  }

  get uuid(): string {
    return this.view.newest.superblock.externalUuid;
  }

  get devices(): readonly string[] {
    return this.view.devices.map(({ path }) => path);
  }

  get description(): string {
    const { label } = this.view.newest.superblock;
    const [first, ...others] = this.devices;
    const where = others.length === 0 ? `on ${first}` : `(${this.devices.length} devices)`;
    return `bcachefs ${label === "" ? "" : `"${label}" `}${where}`;
  }

  async prove(credential: Credential, signal: AbortSignal): Promise<ProvenVolume> {
    const { superblock, path } = this.view.newest;
    if (!superblock.crypt || superblock.crypt.isClear) {
      throw new LatchkeyError(
        "bcachefs/not-encrypted",
        superblock.crypt
          ? `${this.name}: ${this.description} is encrypted without a passphrase, its key lies in clear on the disk`
          : `${this.name}: ${this.description} is not encrypted`,
      );
    }
    const parameters = checkedParameters(superblock.crypt, path);
    const derived = credential.derived(parametersText(parameters), (passphrase) =>
      this.#means.deriver.derive(passphrase, parameters),
    );
    const key = await this.#unlessInterrupted(derived, signal);
    if (opensWrappedKey(key, superblock.crypt, superblock.nonce))
      return new ProvenBcachefs(this, key.clone(), this.#means);
    throw new LatchkeyError(
      "bcachefs/wrong-passphrase",
      `${this.name}: wrong passphrase for ${this.description}`,
      this.#advice(key, credential.secret, superblock),
    );
  }

  /** The derivation goes on without us when the signal comes: other volumes may wait for the same key. */
  async #unlessInterrupted(derived: Promise<SecretBytes>, signal: AbortSignal): Promise<SecretBytes> {
    const interrupted = Promise.withResolvers<never>();
    const interrupt = (): void => {
      interrupted.reject(
        new LatchkeyError("unlock/interrupted", `${this.name}: the passphrase is not wanted any longer`),
      );
    };
    signal.addEventListener("abort", interrupt);
    if (signal.aborted) interrupt();
    try {
      return await Promise.race([interrupted.promise, derived]);
    } finally {
      signal.removeEventListener("abort", interrupt);
    }
  }

  /** A member that missed the last passphrase change tells an old passphrase from a mistyped one, at no cost. */
  #advice(key: SecretBytes, passphrase: SecretBytes, { nonce }: Superblock): { hint?: string } {
    const behind = this.view.devices.find(({ superblock: { crypt } }) => {
      return crypt && !crypt.isClear && opensWrappedKey(key, crypt, nonce);
    });
    if (behind) return { hint: `this is an earlier passphrase: ${behind.path} missed the change and still has it` };
    const oddity = oddityOf(passphrase);
    return oddity === undefined ? {} : { hint: oddity };
  }
}

class ProvenBcachefs implements ProvenVolume {
  readonly #volume: BcachefsVolume;
  readonly #key: SecretBytes;
  readonly #means: Means;

  constructor(volume: BcachefsVolume, key: SecretBytes, means: Means) {
    this.#volume = volume;
    this.#key = key;
    this.#means = means;
  }

  open(): Promise<OpenedVolume> {
    return Promise.try(() => {
      const { keyring, destination } = this.#means;
      const remove = installKey(keyring, this.#volume.uuid, this.#key, destination);
      return { close: () => Promise.try(remove) };
    });
  }

  [Symbol.dispose](): void {
    this.#key[Symbol.dispose]();
  }
}
