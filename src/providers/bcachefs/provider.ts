import { stat } from "node:fs/promises";
import type { VolumePlan } from "../../config/plan.ts";
import type { BlockDevices } from "../../system/block-devices.ts";
import { type Clock, monotonicClock } from "../../system/clock.ts";
import type { FindContext, FoundVolume, Provider, VolumeState } from "../provider.ts";
import type { KeyDeriver } from "./derive.ts";
import { FilesystemSearch } from "./find.ts";
import { checkedParameters } from "./key.ts";
import { type Destination, presentKey, type VolumeKeyring } from "./keys.ts";
import type { FilesystemView } from "./members.ts";
import { BcachefsVolume } from "./volume.ts";

export interface BcachefsSettings {
  readonly devices: BlockDevices;
  readonly keyring: VolumeKeyring;
  readonly deriver: KeyDeriver;
  readonly clock?: Clock;
  /** Where the key goes; the user keyring unless the command line says otherwise. */
  readonly destination?: Destination;
  /** `/sys`, except in tests. */
  readonly sys?: string;
}

/** Opens encrypted bcachefs volumes as `bcachefs unlock` does, without it. */
export class BcachefsProvider implements Provider {
  readonly kind = "bcachefs";
  readonly #settings: BcachefsSettings;

  constructor(settings: BcachefsSettings) {
    this.#settings = settings;
  }

  /** @throws LatchkeyError codes bcachefs/* and device/*; unlock/interrupted when the signal ended the search */
  async find(volume: VolumePlan, context: FindContext): Promise<BcachefsVolume & FoundVolume> {
    const { devices, clock = monotonicClock, deriver } = this.#settings;
    const view = await new FilesystemSearch(volume, context, devices, clock).run();
    const state = await this.#stateOf(view, context);
    if (state === "closed") deriver.prepare();
    return new BcachefsVolume(volume.name, state, view, {
      keyring: this.#settings.keyring,
      deriver,
      destination: this.#settings.destination ?? "user",
    });
  }

  /** The crypt field decides, not the header's encryption bits: so does the kernel. */
  async #stateOf({ newest: { superblock, path } }: FilesystemView, context: FindContext): Promise<VolumeState> {
    if (!superblock.crypt) return "unencrypted";
    if (superblock.crypt.isClear) return "unprotected";
    if (await this.#isMounted(superblock.externalUuid)) {
      context.note(`${superblock.externalUuid} is mounted already`);
      return "open";
    }
    checkedParameters(superblock.crypt, path);
    switch (presentKey(this.#settings.keyring, superblock)) {
      case "right":
        context.note("the key is already in the keyring");
        return "open";
      case "unchecked":
        context.note("a key is already in the keyring; it cannot be read, so whether it fits is not known");
        return "open";
      case "wrong":
        context.note("the key in the keyring does not fit (was the passphrase changed?) and will be replaced");
        return "closed";
      case "absent":
        return "closed";
    }
  }

  /** The sysfs folder is there as long as the file system is started; /proc/mounts shows sources, which change. */
  async #isMounted(externalUuid: string): Promise<boolean> {
    return await stat(`${this.#settings.sys ?? "/sys"}/fs/bcachefs/${externalUuid}`).then(
      () => true,
      () => false,
    );
  }
}
