import type { LuksPlan } from "../../config/plan.ts";
import type { Credential } from "../../system/credential.ts";
import { asLatchkeyError, LatchkeyError } from "../../system/errors.ts";
import type { SecretBytes } from "../../system/secret-bytes.ts";
import type { FoundVolume, OpenedVolume, ProvenVolume, VolumeState } from "../provider.ts";
import type { LuksHeader } from "./header.ts";
import { KernelVolumeKey, type VolumeKeyKeyring } from "./kernel-volume-key.ts";
import type { LuksTool, ProofRequest } from "./luks-tool.ts";
import { isMappingOf, type Mapping } from "./mappings.ts";
import type { MappingOpener, ProvenKey } from "./opener.ts";
import type { SlotChoice } from "./slots.ts";

export interface LuksMeans {
  readonly tool: LuksTool;
  readonly opener: MappingOpener;
  readonly mappings: { list(): Promise<readonly Mapping[]> };
  /** Where the kernel keeps a volume key between proof and opening. */
  readonly keyring: VolumeKeyKeyring;
}

/** All that is known of a volume before there is a key. */
export interface LuksFacts {
  readonly name: string;
  /** The name of its mapping. */
  readonly mapping: string;
  readonly state: "closed" | "open";
  readonly device: string;
  readonly headerPath: string | undefined;
  readonly header: LuksHeader;
  readonly settings: LuksPlan;
  readonly slots: SlotChoice;
}

/** A LUKS volume whose device was found. */
export class LuksVolume implements FoundVolume {
  readonly facts: LuksFacts;
  readonly #means: LuksMeans;

  constructor(facts: LuksFacts, means: LuksMeans) {
    this.facts = facts;
    this.#means = means;
  }

  get name(): string {
    return this.facts.name;
  }

  get state(): VolumeState {
    return this.facts.state;
  }

  get uuid(): string {
    return this.facts.header.uuid;
  }

  get devices(): readonly string[] {
    return [this.facts.device];
  }

  get description(): string {
    const { header, device } = this.facts;
    return `LUKS${header.version} ${header.label === "" ? "" : `"${header.label}" `}on ${device}`;
  }

  get proofMemory(): number {
    return this.facts.slots.memory;
  }

  async isOpenNow(): Promise<boolean> {
    return (await this.#means.mappings.list()).some((mapping) => isMappingOf(mapping, this.uuid));
  }

  async prove(credential: Credential, signal: AbortSignal): Promise<ProvenVolume> {
    using scope = new DisposableStack();
    const key = await this.#kernelKey();
    if (key) scope.use(key);
    const slot = await this.#slotFor(credential.secret, key, signal);
    if (slot === "none") {
      throw new LatchkeyError("luks/wrong-passphrase", `${this.name}: wrong passphrase for ${this.description}`);
    }
    const passphrase = scope.use(credential.secret.clone());
    // Asked again when it opens: a pool may wait for long, and another proof of the same volume takes the key with it.
    const proven = (): ProvenKey => ({ passphrase, ...(key && isKept(key) ? { volumeKey: key.reference } : {}) });
    proven();
    return new ProvenLuks(() => this.#open(proven(), slot, signal), scope.move());
  }

  /** @returns the slot to open with, where only some can be tried; undefined leaves it to cryptsetup */
  async #slotFor(
    passphrase: SecretBytes,
    key: KernelVolumeKey | undefined,
    signal: AbortSignal,
  ): Promise<number | undefined | "none"> {
    const { device, headerPath, slots } = this.facts;
    const place = { volume: this.name, device, header: headerPath };
    for (const slot of slots.tried) {
      if (await this.#isRight({ ...place, slot, linkTo: key?.linkArgument }, passphrase, signal)) return slot;
    }
    return "none";
  }

  async #isRight(request: ProofRequest, passphrase: SecretBytes, signal: AbortSignal): Promise<boolean> {
    const { tool } = this.#means;
    try {
      return await tool.prove(request, passphrase, signal);
    } catch (thrown) {
      if (request.linkTo === undefined || asLatchkeyError(thrown).code !== "luks/tool-failed") throw thrown;
      // Perhaps it was only the keyring that refused, as in a container: the proof needs none.
      return await tool.prove({ ...request, linkTo: undefined }, passphrase, signal);
    }
  }

  /** Where the volume key may stay between proof and opening; only where latchkey opens, and both sides can do it. */
  async #kernelKey(): Promise<KernelVolumeKey | undefined> {
    const { header, settings } = this.facts;
    const { tool, keyring } = this.#means;
    if (header.version !== 2 || settings.opener !== "latchkey" || !(await tool.canLinkVolumeKeys())) return undefined;
    try {
      return new KernelVolumeKey(keyring, header.uuid);
    } catch {
      return undefined; // this kernel has no keyrings
    }
  }

  async #open(key: ProvenKey, slot: number | undefined, signal: AbortSignal): Promise<OpenedVolume> {
    const { mapping, device, headerPath, settings } = this.facts;
    const { header: _, keySlot: __, ...others } = settings;
    return await this.#means.opener.open(
      {
        name: mapping,
        uuid: this.uuid,
        device,
        settings: {
          ...others,
          ...(headerPath === undefined ? {} : { header: headerPath }),
          ...(slot === undefined ? {} : { keySlot: slot }),
        },
      },
      key,
      signal,
    );
  }
}

function isKept(key: KernelVolumeKey): boolean {
  try {
    return key.settle();
  } catch {
    return false; // then it is derived a second time
  }
}

class ProvenLuks implements ProvenVolume {
  readonly #openIt: () => Promise<OpenedVolume>;
  /** Holds what has to be wiped. */
  readonly #scope: DisposableStack;

  constructor(openIt: () => Promise<OpenedVolume>, scope: DisposableStack) {
    this.#openIt = openIt;
    this.#scope = scope;
  }

  open(): Promise<OpenedVolume> {
    return this.#openIt();
  }

  [Symbol.dispose](): void {
    this.#scope.dispose();
  }
}

/** A device that was to hold LUKS and does not: whether that is refused is for the policy to say. */
export class NoLuks implements FoundVolume {
  readonly name: string;
  readonly state = "unencrypted";
  /** None is known. */
  readonly uuid = "";
  readonly devices: readonly string[];

  constructor(name: string, device: string) {
    this.name = name;
    this.devices = [device];
  }

  get description(): string {
    return `${this.devices[0]} without a LUKS header`;
  }

  prove(): Promise<ProvenVolume> {
    return Promise.reject(
      new LatchkeyError("unlock/not-encrypted", `${this.name}: ${this.devices[0]} holds no LUKS volume`),
    );
  }
}
