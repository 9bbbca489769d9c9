import { readFileSync, realpathSync } from "node:fs";
import { basename } from "node:path";
import type { KeyReader } from "../../sources/usb/key-reader.ts";
import { type Stick, SystemSticks } from "../../sources/usb/sticks.ts";
import type { DeviceRoots } from "../../system/block-devices.ts";
import { LatchkeyError } from "../../system/errors.ts";
import { type MountEntry, parseMountTable } from "../../system/mount-table.ts";
import type { FilesystemType } from "../../system/mounts.ts";

/** Where a person says the stick is: its partition, or the folder where it is mounted. */
export type StickPlace = { readonly device: string } | { readonly mount: string };

/** The stick that somebody wants a key on, found to be one. */
export interface FoundStick {
  readonly device: string;
  /** The whole stick, of which the device is a partition: `/dev/sdb`. */
  readonly disk: string;
  readonly isRemovable: boolean;
  readonly type: FilesystemType;
  readonly uuid: string;
  /** `Kingston DataTraveler 3.0, 14.9 GiB`, as far as the kernel knows. */
  readonly description: string;
  /** Where it is mounted already; otherwise it is mounted where nobody else sees it. */
  readonly mountPoint?: string;
}

export interface FindParts {
  readonly reader: KeyReader;
  readonly roots?: DeviceRoots;
  /** /proc/self/mountinfo */
  readonly mountTable?: string;
  /** A disk that is neither removable nor on a USB bus will do, too. */
  readonly anyBus: boolean;
}

/**
 * Looks at what a person named, before anything is written: it has to be a filesystem of its own, on something that can be taken away.
 * @throws LatchkeyError enroll/not-a-stick, device/…
 */
export async function findStick(place: StickPlace, parts: FindParts, signal: AbortSignal): Promise<FoundStick> {
  const roots = parts.roots ?? { dev: "/dev", sys: "/sys" };
  const mounts = parseMountTable(parts.mountTable ?? readFileSync("/proc/self/mountinfo", "utf8"));
  const { device, entry } =
    "mount" in place ? mountedAt(place.mount, mounts, roots) : deviceAt(place.device, mounts, roots);
  const stick = new SystemSticks(roots).look(device);
  if (!stick) throw notAStick(`${device} is no disk or partition that the kernel knows`);
  if (!stick.isRemovable && !parts.anyBus) {
    throw notAStick(`${device} is neither removable nor on a USB bus`, "if that is what you want, say --any-bus");
  }
  if (entry) checkMount(entry);
  const { filesystems } = await parts.reader.identify(device, undefined, signal);
  const [only, ...others] = filesystems;
  if (!only) throw notAStick(`${device} holds no vfat, exfat or ext4 with a UUID`, "make one: mkfs.vfat or mkfs.ext4");
  if (others.length > 0)
    throw notAStick(`${device} has traces of several filesystems`, "make one anew after wipefs -a");
  if (only.type === "iso9660") throw notAStick(`${device} is a CD image, which cannot be written to`);
  return {
    device,
    disk: stick.partitionOf?.disk ?? device,
    isRemovable: stick.isRemovable,
    ...only,
    description: describe(stick, roots),
    ...(entry ? { mountPoint: entry.mountPoint } : {}),
  };
}

interface Place {
  readonly device: string;
  readonly entry?: MountEntry | undefined;
}

function mountedAt(folder: string, mounts: readonly MountEntry[], { dev, sys }: DeviceRoots): Place {
  const path = resolved(folder);
  const entry = mounts.findLast(({ mountPoint }) => mountPoint === path);
  if (!entry) {
    throw notAStick(
      `${folder} is a folder of another filesystem, and nothing is mounted there`,
      "mount the stick first, or name its partition with --device",
    );
  }
  try {
    return { device: `${dev}/${basename(realpathSync(`${sys}/dev/block/${entry.device}`))}`, entry };
  } catch {
    throw notAStick(`what is mounted on ${folder} (${entry.type}) is on no disk`);
  }
}

function deviceAt(path: string, mounts: readonly MountEntry[], { sys }: DeviceRoots): Place {
  const device = resolved(path);
  const number = textOf(`${sys}/class/block/${basename(device)}/dev`);
  return { device, entry: number === "" ? undefined : mounts.findLast((mount) => mount.device === number) };
}

function checkMount({ mountPoint, root, isReadOnly }: MountEntry): void {
  if (root !== "/") throw notAStick(`${mountPoint} is a part of a filesystem only`, "name its partition with --device");
  if (isReadOnly)
    throw notAStick(`${mountPoint} is mounted read-only`, "unmount it, and name its partition with --device");
}

function resolved(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    throw new LatchkeyError("device/missing", `${path} does not exist`);
  }
}

function describe({ path, partitionOf }: Stick, { sys }: DeviceRoots): string {
  const disk = `${sys}/class/block/${basename(partitionOf?.disk ?? path)}`;
  const names = [textOf(`${disk}/device/vendor`), textOf(`${disk}/device/model`)].filter((name) => name !== "");
  const mebibytes = (Number(textOf(`${disk}/size`)) * 512) / 1024 ** 2;
  const size = mebibytes < 1024 ? `${mebibytes.toFixed(0)} MiB` : `${(mebibytes / 1024).toFixed(1)} GiB`;
  return [names.join(" ") || "a disk without a name", size].join(", ");
}

function textOf(path: string): string {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return "";
  }
}

function notAStick(message: string, hint?: string): LatchkeyError {
  return new LatchkeyError("enroll/not-a-stick", message, hint === undefined ? {} : { hint });
}
