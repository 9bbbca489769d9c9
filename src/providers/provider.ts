import type { VolumeKind, VolumePlan } from "../config/plan.ts";
import type { Credential } from "../system/credential.ts";
import { LatchkeyError } from "../system/errors.ts";

/**
 * What a volume is, told from what lies in clear on its devices.
 * `closed`: wants a credential · `open`: nothing to do · `unencrypted`: holds no encryption at all · `unprotected`:
 * encrypted, but its key lies in clear beside it, so anyone can open it.
 */
export type VolumeState = "closed" | "open" | "unencrypted" | "unprotected";

export interface FindContext {
  /** Aborted when the volume is not wanted any longer; the waiter ends at once. */
  readonly signal: AbortSignal;
  /** Milliseconds until a missing first device is an error. */
  readonly deviceTimeout: number;
  /** Milliseconds until missing further members are an error, or a note where degraded is allowed. */
  readonly memberTimeout: number;
  readonly allowDegraded: boolean;
  /** One line for the report and the console: what is being waited for, what was odd. */
  note(text: string): void;
}

/** Checks credentials against one kind of volume, and opens it. */
export interface Provider {
  readonly kind: VolumeKind;
  /**
   * Waits for the devices and reads what lies in clear. Touches no secret and changes nothing.
   * @throws LatchkeyError `unavailable` when devices do not come in time, `failed` when what they hold is damaged
   */
  find(volume: VolumePlan, context: FindContext): Promise<FoundVolume>;
  /**
   * The tokens of a type (`clevis`) in a volume's header, for a kind whose headers hold any. Waits until find() has ended for
   * that volume; none when it was not found.
   */
  headerTokens?(volume: string, type: string, signal: AbortSignal): Promise<readonly TokenText[]>;
}

/** A token in a header, before it is parsed. */
export interface TokenText {
  /** Where it was found, for messages. */
  readonly origin: string;
  readonly text: string;
}

export type Providers = ReadonlyMap<VolumeKind, Provider>;

/** @throws LatchkeyError unlock/no-provider */
export function providerFor({ name, kind }: VolumePlan, providers: Providers): Provider {
  const provider = providers.get(kind);
  if (provider) return provider;
  throw new LatchkeyError("unlock/no-provider", `${name}: this version of latchkey cannot open ${kind}`);
}

export interface FoundVolume {
  readonly name: string;
  readonly state: VolumeState;
  /** How a person knows it, for questions and messages: `bcachefs "tank" (3 devices)`. */
  readonly description: string;
  /** The identity on the disk, a UUID. */
  readonly uuid: string;
  /** Paths of the members found. */
  readonly devices: readonly string[];
  /**
   * Is it open now, by whomever? For a kind that others open as well: systemd-cryptsetup with a token of its own, a person at
   * the system's own question.
   */
  isOpenNow?(): Promise<boolean>;
  /** Octets that one prove() takes at most, where that is much: Argon2 is made to take a lot. */
  readonly proofMemory?: number;
  /**
   * Proves the credential right, changing nothing.
   * @throws LatchkeyError `wrong-credential` when it is not, `failed` when that could not be found out
   */
  prove(credential: Credential, signal: AbortSignal): Promise<ProvenVolume>;
}

/** A volume with a credential that is known to be right; disposing wipes what would open it. */
export interface ProvenVolume extends Disposable {
  open(): Promise<OpenedVolume>;
}

export interface OpenedVolume {
  /** Undoes open(): only for what this run opened. */
  close(): Promise<void>;
}
