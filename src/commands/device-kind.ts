import { closeSync, constants, openSync, readSync, statSync } from "node:fs";
import { toDevicePath } from "../config/device-reference.ts";
import type { DeviceReference, VolumeKind } from "../config/plan.ts";

/** `LUKS`, 0xba, 0xbe: both versions start with it. */
const LUKS_MAGIC = "4c554b53babe";
const BYTES = LUKS_MAGIC.length / 2;

/**
 * What a device that is in no configuration is, by its first bytes: LUKS, or else what a bcachefs may be, which has its
 * superblock further on and is looked for there. What cannot be read is for whoever opens it to complain of.
 */
export function kindOnDevice(reference: DeviceReference): VolumeKind {
  const path = toDevicePath(reference);
  try {
    const status = statSync(path);
    if (!status.isBlockDevice() && !status.isFile()) return "bcachefs";
    const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const start = Buffer.alloc(BYTES);
      return readSync(file, start, 0, BYTES, 0) === BYTES && start.toHex() === LUKS_MAGIC ? "luks" : "bcachefs";
    } finally {
      closeSync(file);
    }
  } catch {
    return "bcachefs";
  }
}
