import type { BlockReader } from "../../system/block-devices.ts";
import type { FilesystemType } from "../../system/mounts.ts";

/** Which filesystem lies on a device, told from its superblock alone. */
export interface FilesystemIdentity {
  readonly type: FilesystemType;
  /** As blkid and udev write it: `4F2A-99C1`, `6e8c…`, `2026-11-22-16-12-46-00`. */
  readonly uuid: string;
}

/**
 * Every filesystem whose superblock is on the device; more than one is a device to stay away from. Reads a few kilobytes, mounts
 * nothing, and does not believe a superblock that no mkfs would have written.
 */
export async function identifyFilesystems(reader: BlockReader): Promise<readonly FilesystemIdentity[]> {
  const boot = await reader.readAt(0, SECTOR);
  const ext = await reader.readAt(EXT.at, EXT.bytes);
  const iso = await reader.readAt(ISO.at, ISO.bytes);
  return [
    { type: "vfat", uuid: fatSerial(boot) } as const,
    { type: "exfat", uuid: exfatSerial(boot) } as const,
    { type: "ext4", uuid: extUuid(ext) } as const,
    { type: "iso9660", uuid: isoDate(iso) } as const,
  ].flatMap(({ type, uuid }) => (uuid === undefined ? [] : [{ type, uuid }]));
}

/** UUIDs are compared whole, without regard to case. */
export function sameUuid(one: string, other: string): boolean {
  return one.toLowerCase() === other.toLowerCase();
}

const SECTOR = 512;

/** Microsoft, "FAT: General Overview of On-Disk Format" 1.03, the BIOS parameter block. */
const FAT = {
  bytesPerSector: 11,
  sectorsPerCluster: 13,
  reservedSectors: 14,
  tables: 16,
  media: 21,
  tableSectors: 22,
  tableSectors32: 36,
  signature: 38,
  serial: 39,
  signature32: 66,
  serial32: 67,
} as const;

/** The serial number stands there with 0x29, or 0x28 where no label follows it. */
const HAS_SERIAL = [0x28, 0x29];

function fatSerial(boot: Uint8Array): string | undefined {
  if (boot.length < SECTOR || !hasBootSignature(boot)) return undefined;
  const view = new DataView(boot.buffer, boot.byteOffset, boot.byteLength);
  const sector = view.getUint16(FAT.bytesPerSector, true);
  const cluster = view.getUint8(FAT.sectorsPerCluster);
  const media = view.getUint8(FAT.media);
  const isSound =
    isPowerOfTwo(sector) &&
    sector >= 512 &&
    sector <= 4096 &&
    isPowerOfTwo(cluster) &&
    view.getUint16(FAT.reservedSectors, true) > 0 &&
    view.getUint8(FAT.tables) > 0 &&
    (media === 0xf0 || media >= 0xf8);
  if (!isSound) return undefined;
  const is32 = view.getUint16(FAT.tableSectors, true) === 0;
  if (is32 && view.getUint32(FAT.tableSectors32, true) === 0) return undefined;
  if (!HAS_SERIAL.includes(view.getUint8(is32 ? FAT.signature32 : FAT.signature))) return undefined;
  return serialText(view.getUint32(is32 ? FAT.serial32 : FAT.serial, true));
}

/** Microsoft, "exFAT file system specification", section 3.1: the main boot sector. */
const EXFAT = { name: 3, mustBeZero: 11, mustBeZeroBytes: 53, serial: 100 } as const;

function exfatSerial(boot: Uint8Array): string | undefined {
  if (boot.length < SECTOR || !hasBootSignature(boot) || ascii(boot, EXFAT.name, 8) !== "EXFAT   ") return undefined;
  if (boot.subarray(EXFAT.mustBeZero, EXFAT.mustBeZero + EXFAT.mustBeZeroBytes).some((byte) => byte !== 0)) {
    return undefined;
  }
  return serialText(new DataView(boot.buffer, boot.byteOffset, boot.byteLength).getUint32(EXFAT.serial, true));
}

/** The kernel's Documentation/filesystems/ext4/super.rst. `journalDevice`: a journal for another filesystem, which holds no files. */
const EXT = { at: 1024, bytes: 1024, magic: 56, incompatible: 96, uuid: 104, journalDevice: 8 } as const;

function extUuid(superblock: Uint8Array): string | undefined {
  if (superblock.length < EXT.bytes) return undefined;
  const view = new DataView(superblock.buffer, superblock.byteOffset, superblock.byteLength);
  if (view.getUint16(EXT.magic, true) !== 0xef53) return undefined;
  if ((view.getUint32(EXT.incompatible, true) & EXT.journalDevice) !== 0) return undefined;
  const uuid = superblock.subarray(EXT.uuid, EXT.uuid + 16);
  if (uuid.every((byte) => byte === 0)) return undefined;
  return uuid.toHex().replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/** ECMA-119, section 8.4: the primary volume descriptor. Its dates (8.4.26.1) are 16 digits and an offset. */
const ISO = { at: 32_768, bytes: 2048, created: 813, modified: 830, dateBytes: 17 } as const;

/** As blkid makes a UUID of it: the date of modification, or of creation where that is not set. */
function isoDate(descriptor: Uint8Array): string | undefined {
  if (descriptor.length < ISO.bytes || descriptor[0] !== 1 || ascii(descriptor, 1, 5) !== "CD001") return undefined;
  for (const at of [ISO.modified, ISO.created]) {
    const digits = ascii(descriptor, at, ISO.dateBytes - 1);
    const isSet = /^\d{16}$/.test(digits) && !(/^0+$/.test(digits) && descriptor[at + ISO.dateBytes - 1] === 0);
    if (isSet) return digits.replace(/^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)$/, "$1-$2-$3-$4-$5-$6-$7");
  }
  return undefined;
}

function hasBootSignature(boot: Uint8Array): boolean {
  return boot[510] === 0x55 && boot[511] === 0xaa;
}

/** Without a serial number (zero) there is no identity. */
function serialText(serial: number): string | undefined {
  if (serial === 0) return undefined;
  return serial
    .toString(16)
    .toUpperCase()
    .padStart(8, "0")
    .replace(/^(.{4})/, "$1-");
}

function ascii(bytes: Uint8Array, at: number, length: number): string {
  return String.fromCharCode(...bytes.subarray(at, at + length));
}

function isPowerOfTwo(number: number): boolean {
  return number > 0 && (number & (number - 1)) === 0;
}
