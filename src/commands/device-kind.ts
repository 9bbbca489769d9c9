import { closeSync, constants, openSync, readSync, statSync } from "node:fs";
import { toDevicePath } from "../config/device-reference.ts";
import type { DeviceReference, VolumeKind } from "../config/plan.ts";

/** What a device that was named by hand is, before anything has read it properly. */
export interface DeviceKind {
  readonly kind: VolumeKind;
  /** Of a LUKS header, lower case. */
  readonly uuid?: string;
}

/** `LUKS`, 0xba, 0xbe: both versions start with it. The second copy of a LUKS2 header has it turned round. */
const FIRST_MAGIC = "4c554b53babe";
const SECOND_MAGIC = "534b554cbabe";
/** Where cryptsetup puts the second copy, unless somebody wanted a larger header. */
const SECOND_AT = 0x4000;
/** In both versions, and in either copy. */
const UUID_AT = 168;
const BYTES = UUID_AT + 36;

/**
 * What a device is by its first bytes: LUKS, or else what a bcachefs may be, which has its superblock further on and is looked
 * for there. What cannot be read is for whoever opens it to complain of.
 */
export function kindOnDevice(reference: DeviceReference): DeviceKind {
  const path = toDevicePath(reference);
  try {
    const status = statSync(path);
    if (!status.isBlockDevice() && !status.isFile()) return { kind: "bcachefs" };
    const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      return luksAt(file, 0, FIRST_MAGIC) ?? luksAt(file, SECOND_AT, SECOND_MAGIC) ?? { kind: "bcachefs" };
    } finally {
      closeSync(file);
    }
  } catch {
    return { kind: "bcachefs" };
  }
}

function luksAt(file: number, offset: number, magic: string): DeviceKind | undefined {
  const start = Buffer.alloc(BYTES);
  readSync(file, start, 0, BYTES, offset);
  if (start.toHex().slice(0, magic.length) !== magic) return undefined;
  return { kind: "luks", uuid: start.toString("latin1", UUID_AT).toLowerCase() };
}
