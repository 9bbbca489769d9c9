import { decodeDeviceName, encodeDeviceName, linkFolders } from "../system/device-names.ts";
import { holdsUnprintable, type Parsed, quoted } from "./parsed.ts";
import type { DeviceReference, DeviceTag } from "./plan.ts";

/** PATH_MAX of the kernel. */
const maxPathLength = 4096;
/** NAME_MAX: the value is one link name under /dev/disk/by-*. */
const maxTagValueLength = 255;
/** BCH_SB_MEMBERS_MAX of bcachefs; no other kind has more members. */
export const maxMembers = 64;

/** The folder of links that udev keeps for a tag. */
const linkFolder = (tag: DeviceTag): string => `/dev/disk/${linkFolders[tag]}/`;
const tags = Object.keys(linkFolders) as readonly DeviceTag[];

const tagPattern = /^([A-Za-z_]+)=(.*)$/s;
const fullUuidPattern = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i;

/** A device as fstab(5) and the kernel command line name it: `UUID=…`, `LABEL="…"`, `/dev/sda2`, `/dev/disk/by-uuid/…`. */
export function parseDeviceReference(text: string): Parsed<DeviceReference> {
  if (holdsUnprintable(text)) return { problem: `a device has no control characters, got ${quoted(text)}` };
  const match = tagPattern.exec(text);
  if (match) return parseTag(match[1] ?? "", match[2] ?? "");
  if (!text.startsWith("/")) return { problem: `expected UUID=…, LABEL=…, or a path, got ${quoted(text)}` };
  return parsePath(text);
}

/**
 * Several members joined by colons, as the kernel's bcachefs takes them: `/dev/sda:/dev/sdb`. Only a colon before a slash
 * joins, for names under /dev/disk/by-path hold colons of their own; a tag names one device.
 */
export function parseDeviceList(text: string): Parsed<readonly DeviceReference[]> {
  const parts = text.startsWith("/") ? text.split(/:(?=\/)/) : [text];
  if (parts.length > maxMembers) return { problem: `expected at most ${maxMembers} devices, got ${parts.length}` };
  const devices: DeviceReference[] = [];
  for (const part of parts) {
    const parsed = parseDeviceReference(part);
    if ("problem" in parsed) return parsed;
    devices.push(parsed.value);
  }
  return { value: withoutRepeats(devices) };
}

/** The shortest text that parses to the same reference. */
export function printDeviceReference(device: DeviceReference): string {
  if (device.by === "path") return device.path;
  const first = device.value.charAt(0);
  const quote = first === '"' ? "'" : first === "'" ? '"' : "";
  return `${device.tag}=${quote}${device.value}${quote}`;
}

/** Where the device appears; for a tag the link that udev makes. */
export function toDevicePath(device: DeviceReference): string {
  return device.by === "path" ? device.path : linkFolder(device.tag) + encodeDeviceName(device.value);
}

/** Both name the same link. References that differ may still lead to one device: only the running system can tell. */
export function isSameReference(one: DeviceReference, other: DeviceReference): boolean {
  return toDevicePath(one) === toDevicePath(other);
}

/** Each device once, in the order of their first naming. */
export function withoutRepeats(devices: readonly DeviceReference[]): readonly DeviceReference[] {
  const seen = new Set<string>();
  return devices.filter((device) => {
    const path = toDevicePath(device);
    return !seen.has(path) && seen.add(path);
  });
}

/** Both are UUIDs of filesystems, so that unequal values mean unequal filesystems. */
export function areBothUuids(one: DeviceReference, other: DeviceReference): boolean {
  return one.by === "tag" && other.by === "tag" && one.tag === "UUID" && other.tag === "UUID";
}

/** Why no encrypted volume can be behind a reference: bcachefs and LUKS have UUIDs of 36 characters, FAT has shorter ones. */
export function volumeUuidProblem(device: DeviceReference): string | undefined {
  const isShort = device.by === "tag" && device.tag === "UUID" && !fullUuidPattern.test(device.value);
  return isShort ? `${quoted(device.value)} is not the UUID of an encrypted volume (36 characters)` : undefined;
}

function parseTag(name: string, quotedValue: string): Parsed<DeviceReference> {
  // OLD_BLKID_UUID= is the way round that bcachefs documents for fstab, since systemd resolves UUID= to one member.
  const tag = name === "OLD_BLKID_UUID" ? "UUID" : tags.find((known) => known === name);
  if (tag === undefined) {
    const upper = tags.find((known) => known === name.toUpperCase());
    const hint = upper === undefined ? `known are ${tags.join(", ")}` : `write ${upper}=`;
    return { problem: `no such tag ${quoted(name)}: ${hint}` };
  }
  const value = unquote(quotedValue);
  return value === undefined ? { problem: `the quotes of ${tag}= do not match` } : checkTagValue(tag, value);
}

function checkTagValue(tag: DeviceTag, value: string): Parsed<DeviceReference> {
  if (value === "") return { problem: `${tag}= is empty` };
  // udev makes a link for each name, and for these there can be none.
  if (value === "." || value === "..") return { problem: `${tag}= cannot be ${quoted(value)}` };
  if (Buffer.byteLength(value) > maxTagValueLength) return { problem: `the value of ${tag}= is too long` };
  return tag === "UUID" || tag === "PARTUUID" ? parseUuid(tag, value) : { value: { by: "tag", tag, value } };
}

/** Optional quotes as in fstab(5); libblkid refuses an opening quote without its closing one. */
function unquote(text: string): string | undefined {
  const quote = text.charAt(0);
  if (quote !== '"' && quote !== "'") return text;
  return text.length >= 2 && text.endsWith(quote) ? text.slice(1, -1) : undefined;
}

function parseUuid(tag: "UUID" | "PARTUUID", value: string): Parsed<DeviceReference> {
  if (/\/PARTNROFF=/.test(value))
    return { problem: "PARTNROFF is known to the kernel alone: name the partition itself" };
  if (!/^[0-9A-Za-z-]+$/.test(value))
    return { problem: `${tag}= has letters, digits and "-" only, got ${quoted(value)}` };
  if (/^\w{8}-(?:\w{4}-){3}\w{12}$/.test(value) && !fullUuidPattern.test(value)) {
    return { problem: `${quoted(value)} looks like a UUID, but is not hexadecimal` };
  }
  return { value: { by: "tag", tag, value: withUsualCase(tag, value) } };
}

/**
 * The case that udev's links have: lower for UUIDs of 36 characters and for MBR partitions, upper for FAT (fstab(5)). Others
 * stay as written, for LVM's tell cases apart and 16 digits are upper-case on NTFS, lower-case on UDF.
 */
function withUsualCase(tag: "UUID" | "PARTUUID", value: string): string {
  if (fullUuidPattern.test(value)) return value.toLowerCase();
  if (tag === "PARTUUID" && /^[0-9a-f]{8}-[0-9a-f]{2,}$/i.test(value)) return value.toLowerCase();
  if (tag === "UUID" && /^[0-9a-f]{4}-[0-9a-f]{4}$/i.test(value)) return value.toUpperCase();
  return value;
}

function parsePath(text: string): Parsed<DeviceReference> {
  const path = text.replace(/\/{2,}/g, "/");
  const parts = path.split("/").slice(1);
  if (path.length > maxPathLength) return { problem: `a path has at most ${maxPathLength} characters` };
  if (parts.includes("")) return { problem: `expected the path of a device, got ${quoted(text)}` };
  if (parts.includes(".") || parts.includes("..")) {
    return { problem: `the path of a device has no "." and no "..", got ${quoted(text)}` };
  }
  return { value: linkAsTag(path) ?? { by: "path", path } };
}

/** `/dev/disk/by-uuid/X` says the same as `UUID=X`, and as a tag it also finds what udev has made no link for. */
function linkAsTag(path: string): DeviceReference | undefined {
  for (const tag of tags) {
    if (!path.startsWith(linkFolder(tag))) continue;
    const value = decodeDeviceName(path.slice(linkFolder(tag).length));
    if (value === undefined || holdsUnprintable(value)) return undefined;
    const parsed = checkTagValue(tag, value);
    if ("value" in parsed) return parsed.value;
  }
  return undefined;
}
