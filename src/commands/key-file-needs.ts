import { filesystemUuids } from "../config/key-sources.ts";
import type { Plan, SourcePlan, UsbPlan } from "../config/plan.ts";
import type { FilesystemType } from "../system/mounts.ts";

/** What the sources that read key files need in an image: the drivers of USB storage, and of filesystems. */
export type KeyFileNeed = "usb" | FilesystemType;

/**
 * No more than the configured sticks need. The form of its UUID tells the filesystem of a stick, vfat and exfat excepted; what lies in a
 * vault tells nobody before it is open.
 */
export function keyFileNeeds(plan: Plan): ReadonlySet<KeyFileNeed> {
  return new Set(sourcesOf(plan).flatMap(needsOf));
}

function needsOf(source: SourcePlan): readonly KeyFileNeed[] {
  if (source.kind === "vault") return ["usb", "vfat", "ext4"];
  return source.kind === "usb" ? ["usb", ...filesystemsOf(source)] : [];
}

function filesystemsOf({ place }: UsbPlan): readonly FilesystemType[] {
  if (place.by === "partition") return [];
  if (filesystemUuids.serial.test(place.uuid)) return ["vfat", "exfat"];
  return filesystemUuids.uuid.test(place.uuid) ? ["ext4"] : ["iso9660"];
}

/** The key files that the configuration wants in the image, and no other goes there. */
export function keyFilesForImage(plan: Plan): readonly string[] {
  return [...new Set(sourcesOf(plan).flatMap((source) => (source.kind === "keyfile" ? [source.path] : [])))];
}

function sourcesOf({ volumes }: Plan): readonly SourcePlan[] {
  return volumes.flatMap(({ sources }) => sources);
}
