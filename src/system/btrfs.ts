import type { BlockReader } from "./block-devices.ts";
import { crc32c } from "./crc32c.ts";
import { printable, UUID_BYTES, uuidText } from "./on-disk.ts";

/**
 * What one device of a btrfs says of itself and of its filesystem. Offsets are those of struct btrfs_super_block and struct
 * btrfs_dev_item, include/uapi/linux/btrfs_tree.h.
 */
export interface BtrfsSuperblock {
  /** What blkid, fstab and /sys/fs/btrfs call the filesystem; `btrfstune -m` may change it. */
  readonly filesystem: string;
  readonly label: string;
  /** How many devices the filesystem has, this one included. */
  readonly devices: number;
  /** This device's number in the filesystem, from 1 on. */
  readonly deviceId: bigint;
  /** blkid's UUID_SUB. */
  readonly deviceUuid: string;
  /** Grows with each commit: a device that is behind was written to without. */
  readonly generation: bigint;
}

/** `problem`: there is a btrfs, and it cannot be believed. Undefined: there is none. */
export type BtrfsReading = BtrfsSuperblock | { readonly problem: string } | undefined;

/** BTRFS_SUPER_INFO_OFFSET. The copies at 64 MiB and 256 GiB are for repairs: the kernel looks at this one alone. */
export const SUPERBLOCK_AT = 64 * 1024;
/** BTRFS_SUPER_INFO_SIZE. */
const SUPERBLOCK_BYTES = 4096;

const CHECKSUM_BYTES = 32;
const MAGIC = new TextEncoder().encode("_BHRfS_M");
const AT = {
  filesystem: 32,
  ownPlace: 48,
  magic: 64,
  generation: 72,
  deviceCount: 136,
  incompatibleFeatures: 188,
  checksumType: 196,
  deviceId: 201,
  deviceUuid: 267,
  deviceFilesystem: 283,
  label: 299,
  metadataUuid: 571,
} as const;
const LABEL_BYTES = 256;
/** BTRFS_FEATURE_INCOMPAT_METADATA_UUID: the name of the filesystem was changed, its devices keep the old one inside. */
const HAS_METADATA_UUID = 1n << 10n;
/** More than the system chunk array of 2 KiB can describe; bounds what a message may claim. */
const MOST_DEVICES = 4096n;

type Checksum = (bytes: Uint8Array) => Uint8Array;

/** BTRFS_CSUM_TYPE_*, in order. */
const checksums: readonly Checksum[] = [
  (bytes) => little(BigInt((crc32c(bytes, 0xffffffff) ^ 0xffffffff) >>> 0), 4),
  (bytes) => little(Bun.hash.xxHash64(bytes, 0n), 8),
  (bytes) => new Bun.CryptoHasher("sha256").update(bytes).digest(),
  (bytes) => new Bun.CryptoHasher("blake2b256").update(bytes).digest(),
];

/** Reads the superblock that the kernel goes by. @throws LatchkeyError device/unreadable */
export async function readBtrfs(reader: BlockReader): Promise<BtrfsReading> {
  return parseBtrfs(await reader.readAt(SUPERBLOCK_AT, SUPERBLOCK_BYTES));
}

/**
 * Never throws.
 * @param bytes what lies at SUPERBLOCK_AT
 */
export function parseBtrfs(bytes: Uint8Array): BtrfsReading {
  if (!MAGIC.every((byte, index) => bytes[AT.magic + index] === byte)) return undefined;
  if (bytes.length < SUPERBLOCK_BYTES) return { problem: "the device ends inside the superblock" };
  const view = new DataView(bytes.buffer, bytes.byteOffset, SUPERBLOCK_BYTES);
  const type = view.getUint16(AT.checksumType, true);
  const checksum = checksums[type];
  if (!checksum) return { problem: `checksum type ${type} is not known` };
  const sum = checksum(bytes.subarray(CHECKSUM_BYTES, SUPERBLOCK_BYTES));
  if (!sum.every((byte, index) => bytes[index] === byte)) return { problem: "the checksum does not match" };

  const place = view.getBigUint64(AT.ownPlace, true);
  if (place !== BigInt(SUPERBLOCK_AT)) return { problem: `the superblock says it is at ${place}` };
  const devices = view.getBigUint64(AT.deviceCount, true);
  if (devices < 1n || devices > MOST_DEVICES) return { problem: `the superblock counts ${devices} devices` };
  const uuidAt = (offset: number): string => uuidText(bytes.subarray(offset, offset + UUID_BYTES));
  const filesystem = uuidAt(AT.filesystem);
  const isRenamed = (view.getBigUint64(AT.incompatibleFeatures, true) & HAS_METADATA_UUID) !== 0n;
  // btrfs_validate_super() of fs/btrfs/disk-io.c compares the same.
  if (uuidAt(AT.deviceFilesystem) !== (isRenamed ? uuidAt(AT.metadataUuid) : filesystem)) {
    return { problem: "the device's entry is that of another filesystem" };
  }
  return {
    filesystem,
    label: printable(bytes.subarray(AT.label, AT.label + LABEL_BYTES)),
    devices: Number(devices),
    deviceId: view.getBigUint64(AT.deviceId, true),
    deviceUuid: uuidAt(AT.deviceUuid),
    generation: view.getBigUint64(AT.generation, true),
  };
}

function little(value: bigint, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => Number((value >> BigInt(8 * index)) & 0xffn));
}
