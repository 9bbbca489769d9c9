import type { LuksPlan } from "../../config/plan.ts";
import type { SecretBytes } from "../../system/secret-bytes.ts";
import type { OpenedVolume } from "../provider.ts";

/** A mapping that is to appear: everything about it but the key. */
export interface MappingRequest {
  /** The mapping's name below /dev/mapper, and the volume's. */
  readonly name: string;
  /** Of the LUKS header, lower case with hyphens. */
  readonly uuid: string;
  /** The device node that holds the data. */
  readonly device: string;
  readonly settings: LuksPlan;
}

/** A key that one of the header's slots took. Belongs to the proven volume, which wipes it: whoever keeps it longer clones it. */
export interface ProvenKey {
  readonly passphrase: SecretBytes;
  /** Where the kernel holds the volume key, so that opening derives nothing again: `%user:…` for cryptsetup. */
  readonly volumeKey?: string;
}

/**
 * Makes the mapping, itself or by handing the key to whom the system has given that job, and returns when it is there.
 * @throws LatchkeyError when it does not come
 */
export interface MappingOpener {
  open(request: MappingRequest, key: ProvenKey, signal: AbortSignal): Promise<OpenedVolume>;
}
