import type { JsonObject } from "../../jose/json.ts";
import { LatchkeyError } from "../../system/errors.ts";

/** How a key slot turns a passphrase into a key. */
export type SlotKdf =
  | { readonly kind: "pbkdf2"; readonly hash: string; readonly iterations: number }
  | {
      readonly kind: "argon2i" | "argon2id";
      /** The header counts in KiB. */
      readonly memoryBytes: number;
      readonly iterations: number;
      readonly parallelism: number;
    }
  /** One that latchkey does not know: cryptsetup may. */
  | { readonly kind: "other"; readonly name: string };

export interface KeySlot {
  readonly id: number;
  readonly kdf: SlotKdf;
  /** `ignore`: tried only when it is named. */
  readonly priority: "ignore" | "normal" | "prefer";
  /** What encrypts the key in it: `aes-xts-plain64`. */
  readonly cipher: string;
  /** Bits of the volume key. */
  readonly keyBits: number;
}

/** A part of the device and what encrypts it. */
export interface Segment {
  readonly id: number;
  readonly type: string;
  readonly cipher: string;
  /** Octets. */
  readonly sectorSize: number;
  readonly integrity: string | null;
}

export interface HeaderToken {
  readonly id: number;
  readonly type: string;
  readonly slots: readonly number[];
  readonly json: JsonObject;
}

export interface HeaderCopy {
  /** Octets from the start of the device. */
  readonly offset: number;
  /** A 64-bit number; null where the copy is damaged. */
  readonly sequence: string | null;
  readonly problem: string | null;
}

/** What a LUKS header says in clear. */
export interface LuksHeader {
  readonly version: 1 | 2;
  /** Lower case with hyphens. */
  readonly uuid: string;
  /** Empty where there is none. */
  readonly label: string;
  readonly slots: readonly KeySlot[];
  readonly segments: readonly Segment[];
  /** LUKS1 has none. */
  readonly tokens: readonly HeaderToken[];
  /** What a program must know to use the volume: `online-reencrypt`. */
  readonly requirements: readonly string[];
  /** LUKS2 keeps two. */
  readonly copies: readonly HeaderCopy[];
  /** What is odd about it: a damaged copy. */
  readonly notes: readonly string[];
}

/** What the parsers of this folder throw: the reason alone, without the device, which they do not know. */
export function damagedHeader(reason: string): LatchkeyError {
  return new LatchkeyError("luks/header-damaged", reason);
}

/** Text from a header: the UUID, which identifies the volume, so nothing but a UUID is taken for one. */
export function headerUuid(text: string): string {
  if (/^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i.test(text)) return text.toLowerCase();
  throw damagedHeader("its LUKS header has no UUID");
}
