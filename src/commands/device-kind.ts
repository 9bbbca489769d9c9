import { closeSync, constants, openSync, readSync, statSync } from "node:fs";
import { parseDeviceReference, toDevicePath } from "../config/device-reference.ts";
import type { DeviceReference, VolumeKind } from "../config/plan.ts";
import type { LuksHeader } from "../providers/luks/header.ts";
import { readLuksHeader } from "../providers/luks/read-header.ts";
import { type BlockDevices, SystemBlockDevices } from "../system/block-devices.ts";
import { type Clock, monotonicClock } from "../system/clock.ts";
import { Prober } from "../system/device-wait.ts";

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

/**
 * The LUKS volume that `UUID=…` or `LABEL=…` names, by the headers of all devices, where udev has made no link: in a rescue system
 * without it, or for a disk that it has not seen to yet. Undefined where there is a link, and for all else.
 */
export async function kindWithoutLink(
  argument: string,
  devices: Pick<BlockDevices, "list" | "open" | "resolve"> = new SystemBlockDevices(),
  clock: Clock = monotonicClock,
): Promise<DeviceKind | undefined> {
  const parsed = /^(?:UUID|LABEL)=/.test(argument) ? parseDeviceReference(argument) : { problem: "" };
  if ("problem" in parsed || parsed.value.by !== "tag") return undefined;
  const { tag, value } = parsed.value;
  const isMeant = ({ uuid, label }: LuksHeader): boolean =>
    tag === "UUID" ? uuid === value.toLowerCase() : label !== "" && label === value;
  try {
    if ((await devices.resolve(parsed.value)) !== undefined) return undefined;
    const prober = new Prober(clock);
    const headers = await Promise.all(
      (await devices.list()).map(({ path }) =>
        prober
          .ask(path, async () => {
            await using reader = await devices.open(path);
            return await readLuksHeader(reader);
          })
          .catch(() => undefined),
      ),
    );
    const found = headers.find((header) => header && isMeant(header));
    return found && { kind: "luks", uuid: found.uuid };
  } catch {
    return undefined; // whoever opens it complains
  }
}

function luksAt(file: number, offset: number, magic: string): DeviceKind | undefined {
  const start = Buffer.alloc(BYTES);
  readSync(file, start, 0, BYTES, offset);
  if (start.toHex().slice(0, magic.length) !== magic) return undefined;
  return { kind: "luks", uuid: start.toString("latin1", UUID_AT).toLowerCase() };
}
